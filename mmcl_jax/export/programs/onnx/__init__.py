"""A translation of traced JAX functions into ONNX: each primitive into the operators that compute the same."""
