"""What measures speed, memory and collectives. `python -m benchmarks --help` lists them."""
