"""`make reliability`: kills, faults, outages and damage, many times, and one table of what was lost."""
