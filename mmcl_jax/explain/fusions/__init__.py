"""Explanations of fusions: the attention of columns to regions of an image."""
