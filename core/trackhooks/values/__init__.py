"""Convert what users pass to values that can be stored: numbers, parameters, media; and redact secrets."""
