"""Holds the order of a job: `run` it all, `probe` a few tiles ahead, or `check` one tile."""
