"""How a hash function is fitted: a run, the training loop, and what stands in for labels."""
