"""The HTTP interface, one group of addresses a file; each has a ``router``."""
