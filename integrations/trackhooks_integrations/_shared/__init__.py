"""What several bundled integrations share."""
