"""Downstream tasks: what a head predicts from features, its loss, and its metrics."""
