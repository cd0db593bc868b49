"""Plain Python over the real things a run is made of: one module for each, and no pytest."""
