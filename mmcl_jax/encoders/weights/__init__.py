"""Weights of image towers from files of other programs, read without running code from them."""
