"""The command `trackhooks`."""
