"""Synthetic georeferenced imagery, for the demo and for tests."""
