"""What the attacks share: their frame, servers to kill, hostile files, and brute force."""
