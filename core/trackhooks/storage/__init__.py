"""A run's folder on disk: the journal, run.json, checkpoints, locks, and runs that died."""
