"""Drawn polymer membranes: an electron micrograph and the process parameters of each, with a measured number."""
