"""What the hashing methods share; all of it needs torch, which the extra ``train`` installs."""
