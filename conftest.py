"""Loads the fixtures; nothing else. fixtures/options.py, which declares the options, is loaded before."""

pytest_plugins = [
    "fixtures.run",
    "fixtures.deployment",
    "fixtures.people",
    "fixtures.evidence",
    "fixtures.report",
    "fixtures.courses",
    "fixtures.culler",
    "fixtures.known_defects",
]
