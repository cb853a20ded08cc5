"""The store of a prepared data set, and the way from its rows to training batches."""
