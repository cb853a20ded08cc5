"""Terms of labels that a layer predicts from features."""
