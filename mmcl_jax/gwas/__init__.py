"""Genome-wide association of phenotypes with genotypes, from embeddings to independent regions."""
