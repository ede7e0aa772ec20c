"""Reading runs back: lists, comparisons, and the command line."""
