"""The evaluation protocols: probes, fine-tuning, nearest neighbours and retrieval."""
