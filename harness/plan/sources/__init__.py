"""Sources of a plan: files that a person names, and a checkout of mitodl/ol-infrastructure."""
