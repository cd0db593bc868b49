"""The ways in which the owners' program cannot be evaluated."""

from __future__ import annotations

from harness.base.errors import EnvironmentFault, HarnessError


class ProgramError(HarnessError):
    """The owners' program cannot be evaluated: their file and line, and the reason."""


class InputError(EnvironmentFault):
    """The checkout, the stack or the revision that a person named is not there: nothing is evaluated."""


class UnendingError(EnvironmentFault):
    """The owners' program was still running when its time was over."""


class PythonMissingError(EnvironmentFault):
    """No Python on this machine is in the range of the checkout's lock file."""
