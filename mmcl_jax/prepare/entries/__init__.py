"""Entries that are neither images nor columns of the main table: matrices, texts, boxes, further tables."""
