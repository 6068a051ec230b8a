"""The hash function that every method ends in: its input, its file, the device it runs on."""
