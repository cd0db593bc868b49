"""Faults that promises and drills plant in a running copy."""
