"""The one way the harness says no."""

from __future__ import annotations


class HarnessError(Exception):
    """Something a person has to know: what was expected, what was found, what to do next.

    The message is one or two lines and is shown as it is, without a traceback.
    """
