"""Encoders of vectors: scores, genotypes, burdens."""
