"""The work directory of an experiment: its config, checkpoints, what it has seen, and how it goes on."""
