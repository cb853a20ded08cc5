"""Dividing rows into train, val and test, into folds, and into subsets for training with few labels."""
