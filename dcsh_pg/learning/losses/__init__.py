"""Losses of the deep methods, one a file; all take hash-like features h in [-1, 1]."""
