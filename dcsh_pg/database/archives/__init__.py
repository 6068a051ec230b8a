"""Stored data: models, archives, scenes and chips."""
