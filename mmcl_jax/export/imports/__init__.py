"""Runs from the checkpoints of other programs."""
