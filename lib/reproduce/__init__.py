"""The command line: the notebooks again, headless."""
