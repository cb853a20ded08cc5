"""Drawn hearts in the files of UK Biobank."""
