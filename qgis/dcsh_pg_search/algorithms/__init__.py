"""Algorithms of the Processing toolbox, one a file."""
