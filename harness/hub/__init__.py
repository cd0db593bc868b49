"""A hub as its operator sees it: its API, its spawner, its culler."""
