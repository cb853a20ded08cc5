"""Trainable heads on features, and the engine that trains all of them."""
