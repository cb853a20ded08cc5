"""Terms between local features: regions of an image, sentences of a report, positions of two views."""
