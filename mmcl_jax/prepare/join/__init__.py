"""Joining several sources by their keys into rows, one per key."""
