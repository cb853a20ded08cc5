"""Encoders of tokens that attend to one another, and their layers."""
