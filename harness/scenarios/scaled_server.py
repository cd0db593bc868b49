"""The settings file of servers on the hub whose times are divided: it divides those of a Jupyter server too.

It is executed inside a server's own image, as jupyter_server_config.py. What an image, a file of the values, the
spawner or the command line sets is read when it takes effect, so that all of it is divided.
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from jupyterhub.services.auth import HubAuth
from tornado.ioloop import PeriodicCallback

FACTOR = float(os.environ["HARNESS_TIMES_DIVISOR"])
NO_ACTIVITY_EVERY = 60_000
"""Milliseconds between two looks for a server that has nothing to do (ServerApp.init_shutdown_no_activity)."""


def divided(seconds: int) -> int:
    """Return a time divided; zero is none, and stays."""
    return max(1, round(seconds / FACTOR)) if seconds > 0 else seconds


initialize_culler = MappingKernelManager.initialize_culler
make_hub_auth = HubAuth.__init__


def initialize_divided_culler(self: Any) -> None:
    self.cull_idle_timeout, self.cull_interval = divided(self.cull_idle_timeout), divided(self.cull_interval)
    initialize_culler(self)


def init_divided_shutdown_no_activity(self: Any) -> None:
    if self.shutdown_no_activity_timeout > 0:
        self.shutdown_no_activity_timeout = divided(self.shutdown_no_activity_timeout)
        PeriodicCallback(self.shutdown_no_activity, NO_ACTIVITY_EVERY / FACTOR).start()


def make_divided_hub_auth(self: Any, *args: Any, **kwargs: Any) -> None:
    """Make the server's memory of who may come in as short as the lifetimes of tokens and cookies."""
    make_hub_auth(self, *args, **kwargs)
    self.cache_max_age = divided(self.cache_max_age)


MappingKernelManager.initialize_culler = initialize_divided_culler
ServerApp.init_shutdown_no_activity = init_divided_shutdown_no_activity
HubAuth.__init__ = make_divided_hub_auth
