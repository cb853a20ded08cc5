"""Masks of images: read from files, or drawn from the text of a table."""
