"""Entries that are neither pictures nor the columns of the main table: matrices, texts, boxes, further tables."""
