"""Benchmarks of speed, memory and collectives. `python -m benchmarks --help` lists them."""
