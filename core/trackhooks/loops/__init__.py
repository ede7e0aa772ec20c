"""From a framework's hooks to events: one module a loop."""
