"""The work directory of an experiment: its config, inputs and checkpoints, and how a training resumes from them."""
