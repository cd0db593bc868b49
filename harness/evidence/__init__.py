"""Evidence of a failure: collect it, keep it without secrets, and name the likely cause."""
