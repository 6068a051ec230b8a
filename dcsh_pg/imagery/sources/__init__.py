"""Where scenes are listed: files and folders, STAC, tables of footprints; one source a file."""
