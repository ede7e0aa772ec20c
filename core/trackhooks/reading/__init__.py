"""Read recorded runs back: list, summarize and compare them.

Everything comes from the folders of the runs, and nothing is written there.
"""
