"""Comparing the files of stores and runs with what was recorded of them, and making again what can be made again."""
