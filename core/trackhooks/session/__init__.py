"""Runs as users open them: `run`, `enable`, `disable`, `keras_callback`, and the end of the process."""
