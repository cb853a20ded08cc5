"""The speed of a training: its clock, its use of the accelerator, and profiles of its steps."""
