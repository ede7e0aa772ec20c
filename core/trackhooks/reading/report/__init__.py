"""Make the report: one HTML file that shows a comparison of runs and needs no network.

`data` builds what the page shows, without HTML; `page` renders it.
"""
