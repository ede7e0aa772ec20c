"""Draw comparisons with Bokeh: curves, parallel coordinates and scatter plots.

Bokeh and NumPy are imported by these modules, which are imported when something is drawn.
"""
