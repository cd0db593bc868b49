"""The plan: what a run is going to do, decided before anything starts."""
