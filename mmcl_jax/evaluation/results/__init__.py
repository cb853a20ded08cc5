"""Scores: how they are stored in files, summarised, and shown."""
