"""Loads the fixtures, in any order; fixtures/options.py, which declares the options, is loaded before."""

import pytest

pytest_plugins = [
    "fixtures.ahead",
    "fixtures.courses",
    "fixtures.culling",
    "fixtures.failure",
    "fixtures.infrastructure",
    "fixtures.known_defects",
    "fixtures.lifecycle",
    "fixtures.monitoring",
    "fixtures.network_policies",
    "fixtures.people",
    "fixtures.report",
    "fixtures.selection",
    "fixtures.session",
    "fixtures.sso",
    "fixtures.target",
]
# Before one of them imports another.
pytest.register_assert_rewrite(*pytest_plugins)
