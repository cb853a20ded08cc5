"""What a program needs on a machine that need not be there: compiled ahead of time, and read."""
