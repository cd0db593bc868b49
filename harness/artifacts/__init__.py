"""Artifacts: everything that a run needs and that is not written here, built or pulled."""
