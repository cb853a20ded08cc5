"""What layers compute where the form of XLA, or its gradient, is slow: normalisation, convolution and pooling."""
