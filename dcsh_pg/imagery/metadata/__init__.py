"""What is known of an image besides its pixels: its date, what a sidecar or a catalogue says."""
