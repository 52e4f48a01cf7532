"""Scaling policies: pure functions from a snapshot to the number of workers wanted, and why."""
