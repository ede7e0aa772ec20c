"""From hooks to the journal: what a run records while it is open."""
