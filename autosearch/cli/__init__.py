"""The command line: thin, and quick to answer; the work is done elsewhere."""
