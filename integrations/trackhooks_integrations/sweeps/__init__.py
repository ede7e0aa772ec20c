"""Bundled integrations of libraries that search for hyper-parameters. Each opens a run for each trial."""
