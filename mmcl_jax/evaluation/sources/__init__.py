"""What is evaluated: runs and baselines, their features, and the rows and labels of a store."""
