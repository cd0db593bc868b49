"""Errors that are meant for people."""

from __future__ import annotations

NO_VERDICT = 10
"""Exit code of a run without a verdict about the deployment, because its environment failed."""


class HarnessError(Exception):
    """An error that a person has to know about: what was expected, what was found, what to do next.

    The message is one or two lines and is shown as it is, without a traceback.
    """


class EnvironmentFault(HarnessError):  # noqa: N818  # a fault of the environment is what it is
    """The test environment failed, or the machine cannot run it: no verdict about the deployment."""
