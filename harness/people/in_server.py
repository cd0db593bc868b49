"""The settings file by which a student's server tells of itself when its own command is run a second time.

It is executed inside the server's own image, as jupyter_config.py. It ends the process once everything is read that
may set something (image, files, environment, command line), before a port is bound and before the hub is asked.
harness/people/server_settings.py has the form of the answer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp

init_configurables = ServerApp.init_configurables


def init_configurables_and_tell(self: Any) -> None:
    init_configurables(self)
    kernels = self.kernel_manager
    # The class whose settings count: of a manager and the classes above it the lowest that sets the trait (traitlets).
    family = [each.__name__ for each in type(kernels).mro()]
    setting = next((name for name in family if "cull_idle_timeout" in self.config.get(name, {})), family[0])
    answer = {
        "kernel_timeout": kernels.cull_idle_timeout,
        "ends_open_pages": kernels.cull_connected,
        "kernel_manager": setting,
        "server_timeout": self.shutdown_no_activity_timeout,
    }
    Path(os.environ["HARNESS_ANSWER"]).write_text(json.dumps(answer))
    os._exit(0)


ServerApp.init_configurables = init_configurables_and_tell
