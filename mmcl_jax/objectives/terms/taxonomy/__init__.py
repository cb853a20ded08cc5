"""The terms of Fedorov et al., "Self-supervised multimodal learning for group inferences from MRI data"."""
