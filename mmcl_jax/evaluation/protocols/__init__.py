"""Protocols: how runs are evaluated, and what is trained for it."""
