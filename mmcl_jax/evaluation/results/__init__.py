"""Scores: kept in files, summarised, and shown."""
