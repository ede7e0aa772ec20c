"""Custom training loops: `run.epochs`, `run.train`, `run.validate`, `run.predict`, `run.watch`."""
