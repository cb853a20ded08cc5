"""Several sources, each with keys of its own, become rows: one per key."""
