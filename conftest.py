"""Loads the fixtures; nothing else. fixtures/options.py, which declares the options, is loaded before."""

pytest_plugins = [
    "fixtures.run",
    "fixtures.ending",
    "fixtures.timeline",
    "fixtures.deployment",
    "fixtures.people",
    # Before the evidence: of a ground that gave way there is none to collect.
    "fixtures.health",
    "fixtures.evidence",
    "fixtures.report",
    "fixtures.courses",
    "fixtures.infrastructure",
    "fixtures.culler",
    "fixtures.known_defects",
]
