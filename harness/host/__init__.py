"""The host of a run: its requirements, Docker, and the runs on it."""
