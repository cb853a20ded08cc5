"""Fuzzing: whatever is read gives a right result or one sentence, in bounded time, and leaves nothing half-written.

A kind of input is one file: a strategy of cases, which are Python literals, and what is done with each. The suite tries
a few cases of each kind, always the same; `python -m tests.fuzz --inputs 100000` tries as many as it is asked for.
"""
