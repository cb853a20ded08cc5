"""The terms of the taxonomy of multimodal self-supervision (Fedorov et al.)."""
