"""The bundled trackers."""
