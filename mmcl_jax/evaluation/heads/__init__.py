"""Trainable heads on features, and the one engine that trains them."""
