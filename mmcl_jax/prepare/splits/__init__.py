"""Dividing rows into train, val and test, and low-label subsets of them."""
