"""Drawn hearts, in the file formats of UK Biobank."""
