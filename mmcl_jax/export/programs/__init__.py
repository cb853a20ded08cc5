"""Portable programs: a run's encoders as one function of raw arrays, in StableHLO and in ONNX."""
