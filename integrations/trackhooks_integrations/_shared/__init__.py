"""Code that several bundled integrations share."""
