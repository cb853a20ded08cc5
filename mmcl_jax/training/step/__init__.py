"""One step of training, and of validation: views, encoders, objective, gradients, update."""
