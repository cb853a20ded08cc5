"""Deliberate faults in the package, each of which a named test must find: `python -m tests.mutants`."""
