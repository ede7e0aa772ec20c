"""From what users pass to something that can be stored: numbers, parameters, media, secrets."""
