"""Drawn chests: radiographs with findings of known kind, place and size, and reports that name them."""
