"""Explanations: which columns and which pixels an embedding, a loss or a prediction depends on."""
