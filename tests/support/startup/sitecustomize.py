"""Imported by every Python program that a test starts, when it starts; see `tests/conftest.py`."""

import atexit
import gc

# Else the end of the interpreter searches all that was imported for garbage: 2 s with Keras.
atexit.register(gc.freeze)
