"""The bundled trackers: each is one module, found by its entry point, with no privilege over anyone else's."""
