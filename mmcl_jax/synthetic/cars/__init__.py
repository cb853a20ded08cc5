"""Drawn cars, in the file formats of DVM-CAR."""
