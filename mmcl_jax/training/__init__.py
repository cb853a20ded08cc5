"""Mesh, optimizer and schedules, train state, train step, checkpoints, runs, and the loop."""
