"""Fixtures that several unit tests share."""
