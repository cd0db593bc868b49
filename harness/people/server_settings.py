"""The settings in effect in a user's server, whatever has set them: image, files, environment or command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.people.kernel import Kernel
from harness.plan.contract import CULL_MAX_AGE, CULL_TIMEOUT

ASK_TIMEOUT = 60.0
"""Seconds for a server's command to read all that may set something."""
CELL = """
import json, os, subprocess, tempfile
from pathlib import Path
# A kernel is its server's child.
server = Path(f"/proc/{os.getppid()}")
with tempfile.TemporaryDirectory() as scratch:
    answer = Path(scratch, "answer.json")
    Path(scratch, "jupyter_config.py").write_text(HOOK)
    try:
        texts = (server.joinpath(name).read_text() for name in ("cmdline", "environ"))
        command, given = (text.strip("\\0").split("\\0") for text in texts)
        env = dict(each.split("=", 1) for each in given)
        # Beside all other places: a server reads the files of each.
        places = [scratch, *filter(None, [env.get("JUPYTER_CONFIG_PATH")])]
        env |= {"JUPYTER_CONFIG_PATH": os.pathsep.join(places), "HARNESS_ANSWER": str(answer)}
        # The first kernel has made ~/.ipython, from which a server would take settings of IPython 3 into its own place.
        env["IPYTHONDIR"] = str(Path(scratch, "absent"))
        asked = subprocess.run(
            command, env=env, cwd=server.joinpath("cwd").resolve(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT
        )
        words = asked.stdout.strip().splitlines() or ["nothing was written"]
        trouble = f"{' '.join(command)} ended with status {asked.returncode}: {words[-1]}"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        trouble = f"{type(error).__name__}: {error}"
    print(answer.read_text() if answer.exists() else json.dumps({"trouble": trouble}))
"""
"""The cell that runs the server's own command a second time, with a settings file more, and prints the answer."""


@dataclass(frozen=True)
class ServerSettings:
    """The settings by which a server ends its kernels, or itself; zero seconds are for never.

    Attributes:
        kernel_timeout: seconds of inactivity after which it ends a kernel.
        ends_open_pages: it ends the kernel of a page that is open, too.
        kernel_manager: the class whose settings count.
        server_timeout: seconds without a kernel and without activity after which it ends itself.
    """

    kernel_timeout: float
    ends_open_pages: bool
    kernel_manager: str
    server_timeout: float


def read_settings(kernel: Kernel) -> ServerSettings:
    """Return what is in effect in the server of a Python kernel, as its own command reads it once more.

    Raises:
        CellError: the kernel gives no answer.
        HarnessError: the server's command gives none.
    """
    hook = Path(__file__).with_name("in_server.py").read_text()
    told = kernel.run(f"HOOK, TIMEOUT = {hook!r}, {ASK_TIMEOUT}\n{CELL}", timeout=ASK_TIMEOUT + 10).stdout
    # What an image's own settings of IPython print comes before it.
    answer: dict[str, Any] = json.loads(told.strip().rpartition("\n")[2])
    if "trouble" in answer:
        raise HarnessError(
            "The server cannot be asked for its settings: expected its command to read them when a kernel runs it "
            f"a second time; {answer['trouble']}"
        )
    return ServerSettings(**answer)


def early_ends(settings: ServerSettings) -> Iterator[str]:
    """Yield in a sentence each thing that a server ends before production's culler would end the server."""
    timeout, open_too = settings.kernel_timeout, settings.ends_open_pages
    # An open page keeps a server for as long as it may live.
    least = CULL_MAX_AGE if open_too else CULL_TIMEOUT
    if 0 < timeout < least:
        whose, how = ("an open page's kernel", "with") if open_too else ("the kernel of a closed page", "without")
        yield (
            f"{whose} is ended after {timeout:g} seconds of inactivity ({settings.kernel_manager}.cull_idle_timeout, "
            f"{how} cull_connected), expected {least:g} or never: its variables are gone while its server may be there"
        )
    if 0 < settings.server_timeout < CULL_TIMEOUT:
        yield (
            f"a server ends itself after {settings.server_timeout:g} seconds without activity "
            f"(ServerApp.shutdown_no_activity_timeout), expected {CULL_TIMEOUT:g} or never"
        )
