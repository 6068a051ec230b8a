"""The dock: what the user sees."""
