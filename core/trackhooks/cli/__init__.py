"""The command line: `trackhooks`."""
