"""Services that stand beside the cluster as containers."""
