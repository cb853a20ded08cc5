"""Training: mesh, optimizers and schedules, train state, train step, checkpoints, runs, and the loop."""
