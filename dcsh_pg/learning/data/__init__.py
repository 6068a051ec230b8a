"""What methods are fitted to: the training set, its features, random views and positive pairs."""
