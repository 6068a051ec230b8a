"""The revisions, each a few lines that run the SQL files of the same number."""
