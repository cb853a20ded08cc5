"""Raw texts -> sentences: files, sections, sentences, remarks on priors and lateral views, and vocabularies."""
