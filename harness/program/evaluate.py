"""Run the owners' program and pipelines, shut in: no network, no process, no account, nothing written but scratch.

The program runs in a process of its own with an environment of its own. The kernel takes the network away; an audit
hook in the process refuses the rest and names the owners' line that asked.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.shell import MARK, CommandError, run, tail
from harness.program.closure import APPLICATIONS, Place, stack_file
from harness.program.environment import Environment
from harness.program.errors import InputError, ProgramError, UnendingError
from harness.program.model import STACKS, Program, Resource

TIMEOUT = 120.0
"""Seconds that an evaluation may take; one takes four, and eleven for the first time."""
GRACE = 10.0
"""Seconds more that its process has for naming the line at which the time was over."""
SIDE_BY_SIDE = 2
OWN_DIRECTORY = Path(__file__).parent
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Evaluator:
    """Evaluates what is in a checkout.

    Attributes:
        timeout: seconds for each evaluation.
    """

    checkout: Path
    environment: Environment
    timeout: float = TIMEOUT

    def program(self, application: str, stack: str) -> Program:
        """Evaluate a program for a stack.

        Args:
            application: such as jupyterhub.
            stack: its name, in any case.

        Raises:
            ProgramError: it cannot be evaluated; the owners' file and line are named.
            InputError: there is no such stack.
        """
        directory = self.checkout.resolve() / APPLICATIONS[application]
        stack = canonical(stack)
        what = f"{application} for {stack}"
        request = {
            "kind": "program",
            "directory": str(directory),
            "stack_file": str(stack_file(directory, stack)),
        }
        answer = self.answer(request, what)
        resources = tuple(_resource(each) for each in answer["resources"])
        references = tuple((stack_name, output) for stack_name, output in answer["references"])
        asked, deleted_first = tuple(answer["asked"]), tuple(answer["deleted_first"])
        return Program(stack, application, answer["project"], resources, references, asked, deleted_first)

    def programs(self, wanted: Sequence[tuple[str, str]]) -> list[Program | HarnessError]:
        """Evaluate several, each an application and a stack, and return what came of each in their order."""
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return list(pool.map(lambda each: self._program_or_error(*each), wanted))

    def _program_or_error(self, application: str, stack: str) -> Program | HarnessError:
        try:
            return self.program(application, stack)
        except HarnessError as error:
            return error

    def answer(self, request: Mapping[str, Any], what: str) -> dict[str, Any]:
        """Have a request answered in a process that is shut in.

        Args:
            what: how a message names the work.

        Raises:
            ProgramError: the owners' code is in the way.
            UnendingError: it does not end.
            EnvironmentFault: this machine cannot shut a process in.
        """
        self.environment.bytecode.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="harness-program-") as directory:
            scratch = Path(directory).resolve()
            file, answer = scratch / "request.json", scratch / "answer.json"
            file.write_text(json.dumps({**request, **self._boundaries(scratch, answer)}), encoding="utf-8")
            command = [*without_network(), *self._clean_environment(scratch)]
            command += [str(self.environment.python), "-P", "-s", "-m", "inside", str(file)]
            started = time.monotonic()
            output = _run(command, self.timeout + GRACE, scratch)
            if not answer.is_file():
                raise self._without_answer(scratch, output, time.monotonic() - started, what)
            content: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        if trouble := content.get("trouble"):
            raise ProgramError(_message(trouble, what))
        return content

    def _boundaries(self, scratch: Path, answer: Path) -> dict[str, Any]:
        readable = [self.environment.directory, self.environment.base_prefix, OWN_DIRECTORY / "inside"]
        return {
            "checkout": str(self.checkout.resolve()),
            "source_roots": [str(root) for root in self.environment.source_roots],
            "own_directory": str(OWN_DIRECTORY),
            "scratch": str(scratch),
            "answer": str(answer),
            "bytecode": str(self.environment.bytecode.resolve()),
            "readable": [str(path.resolve()) for path in readable],
            "timeout": self.timeout,
        }

    def _clean_environment(self, scratch: Path) -> list[str]:
        """Return what starts a program with these variables and no others: none of the caller's keys are among them."""
        variables = {
            "AWS_DEFAULT_REGION": "us-east-1",
            "HOME": str(scratch),
            "LANG": "C.UTF-8",
            "PATH": SYSTEM_PATH,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(OWN_DIRECTORY),
            "PYTHONPYCACHEPREFIX": str(self.environment.bytecode.resolve()),
            "TMPDIR": str(scratch),
            **({MARK: os.environ[MARK]} if MARK in os.environ else {}),
        }
        return ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]

    def _without_answer(self, scratch: Path, output: str, seconds: float, what: str) -> HarnessError:
        stack = (scratch / "stack").read_text(encoding="utf-8") if (scratch / "stack").exists() else ""
        if not stack and seconds < self.timeout + GRACE:
            return ProgramError(f"{what}: the evaluation ended without an answer{tail(output, 1) or ', and no output'}")
        place = _place_in(stack, self.checkout.resolve())
        where = f"{place}: still there" if place else f"{what}: still running, in no known line,"
        return UnendingError(
            f"{where} when the time for {what} was over, {self.timeout:g} s\n"
            "The program does not end, or waits for something that an evaluation does not have."
        )


def canonical(stack: str) -> str:
    """Return a stack's name as the owners write it.

    Raises:
        InputError: there is no such stack.
    """
    for name in STACKS:
        if name.lower() == stack.lower():
            return name
    raise InputError(f"--stack {stack}: expected {', '.join(STACKS)}, in any case")


def without_network() -> list[str]:
    """Return what starts a program without a network.

    Raises:
        EnvironmentFault: this machine lets no user do that.
    """
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        try:
            run([*command, "true"], timeout=20)
        except CommandError:
            continue
        return command
    raise EnvironmentFault(
        "the owners' program runs without a network, which takes unshare -n or, for other users than root, user "
        "namespaces; this machine has neither\nRun as root, or allow them: sysctl kernel.unprivileged_userns_clone=1, "
        "and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0"
    )


def _run(command: Sequence[str], timeout: float, scratch: Path) -> str:
    """Run the evaluator and return what it printed; whether it succeeded is for its answer to tell."""
    try:
        return run(command, timeout=timeout, cwd=scratch, what="the evaluation")
    except CommandError as error:
        return error.output or str(error)


def _resource(entry: Mapping[str, Any]) -> Resource:
    place = Place(entry["file"], entry["line"])
    return Resource(entry["type"], entry["name"], entry["custom"], entry["inputs"], place)


def _message(trouble: Mapping[str, Any], what: str) -> str:
    """Return two lines: where and what, and the code that it is about."""
    place = f"{trouble['file']}, line {trouble['line']}" if trouble.get("file") else what
    text = " ".join(str(trouble["message"]).split())[:300]
    kind = trouble["kind"]
    found = {
        "refused": f"tries to {text}",
        "unanswered": f"asks {text}, to which an evaluation has no answer",
    }.get(kind, f"{kind}: {text}")
    code = f": {trouble['code']}" if trouble.get("code") else ""
    return f"{place}: {found}\n{what} cannot be evaluated{code}"


def _place_in(stack: str, checkout: Path) -> Place | None:
    """Return the innermost line of the checkout in what faulthandler wrote, which begins with the innermost."""
    for match in re.finditer(r'File "([^"]+)", line (\d+)', stack):
        path = Path(match[1])
        if path.is_relative_to(checkout):
            return Place(str(path.relative_to(checkout)), int(match[2]))
    return None
