"""The kind cluster and its pods."""
