"""The machine a run happens on: what it has, Docker, and the runs on it."""
