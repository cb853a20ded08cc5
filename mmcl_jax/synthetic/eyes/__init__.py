"""Drawn eyes whose traits depend on planted genetics, in the formats of UK Biobank and of three public data sets."""
