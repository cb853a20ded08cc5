"""Encoders that return a Laplace distribution, of which `pooled` is the mean: those of variational autoencoders."""
