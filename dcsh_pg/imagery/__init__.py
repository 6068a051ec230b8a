"""What there is to hash, and where on Earth it lies: scenes, chip grids, readers, queries, areas."""
