"""Drawn cars in the files of DVM-CAR."""
