"""Everything in a checkout about the hubs: both programs for all stacks, and the pipelines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.digest import fingerprint
from harness.base.errors import EnvironmentFault, HarnessError
from harness.program import environment as environments
from harness.program.closure import applications, closure
from harness.program.errors import InputError
from harness.program.evaluate import OWN_DIRECTORY, SIDE_BY_SIDE, Evaluator
from harness.program.model import STACKS, Program
from harness.program.pipelines import Pipelines, evaluate_pipelines

HUBS = "jupyterhub"
DATA_HUB = "jupyterhub_data"
APPLICATIONS = (HUBS, DATA_HUB)
DIRECTORY = "program-answers"
KEPT = 500
"""Answers that stay in the cache; one checkout has seven, of 60 kB each, and the replays have 34 checkouts."""


@dataclass(frozen=True)
class Evaluation:
    """A checkout evaluated.

    Attributes:
        programs: by application and stack, those that evaluate.
        pipelines: None where they do not evaluate.
        errors: of what does not evaluate, by its name: "jupyterhub for QA", "the pipelines".
    """

    checkout: Path
    programs: Mapping[tuple[str, str], Program]
    pipelines: Pipelines | None
    errors: Mapping[str, HarnessError]

    def program(self, stack: str, application: str = HUBS) -> Program:
        """Return a program as it is for a stack.

        Raises:
            HarnessError: it cannot be evaluated.
        """
        if found := self.programs.get((application, stack)):
            return found
        raise self.errors[f"{application} for {stack}"]

    def checked_pipelines(self) -> Pipelines:
        """Return the pipelines.

        Raises:
            HarnessError: they cannot be evaluated.
        """
        if self.pipelines:
            return self.pipelines
        raise self.errors["the pipelines"]


@dataclass(frozen=True)
class _Remembering(Evaluator):
    """An evaluator that asks nothing twice: an answer is kept by the content of all that it comes from.

    Attributes:
        inputs: fingerprint of what each application comes from, and of what pipelines do, under an empty name.
    """

    kept: Path = Path()
    inputs: Mapping[str, str] = field(default_factory=dict)

    def answer(self, request: Mapping[str, Any], what: str) -> dict[str, Any]:
        portable = json.dumps(request, sort_keys=True).replace(str(self.checkout), "")
        application = Path(request.get("directory", "")).name
        file = self.kept / f"{fingerprint([self.inputs[application], portable])}.json"
        if found := self._kept_answer(file):
            return found
        answer = super().answer(request, what)
        scratch = file.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"read": self._digests(answer["read"]), "answer": answer}), encoding="utf-8")
        scratch.replace(file)
        return answer

    def _kept_answer(self, file: Path) -> dict[str, Any]:
        """Return an answer of which all that was read is as it was; files beyond the closure are known only by this."""
        if not file.is_file():
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["read"] != self._digests(content["read"]):
            return {}
        file.touch()
        found: dict[str, Any] = content["answer"]
        return found

    def _digests(self, files: Iterable[str]) -> dict[str, str]:
        paths = {name: self.checkout / name for name in files}
        return {name: fingerprint([path]) if path.is_file() else "" for name, path in paths.items()}


def evaluate(checkout: Path, cache: Path, stacks: Sequence[str] = STACKS) -> Evaluation:
    """Evaluate a checkout: each program for each stack, and the pipelines, two at a time.

    Args:
        cache: the harness's cache directory; environments and answers are kept there.

    Raises:
        InputError: it is no checkout of the owners' repository.
        EnvironmentFault: its packages cannot be had, this machine cannot shut an evaluation in, or one does not end.
    """
    there = applications(checkout)
    if HUBS not in there:
        raise InputError(
            f"--ol-infrastructure {checkout}: expected a directory src/ol_infrastructure/applications/{HUBS}, found "
            "none; is this a checkout of mitodl/ol-infrastructure?"
        )
    evaluator = _evaluator(checkout, cache, there)
    programs: dict[tuple[str, str], Program] = {}
    errors: dict[str, HarnessError] = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as side:
        asked = {(name, stack): side.submit(evaluator.program, name, stack) for stack in stacks for name in there}
        asked_pipelines = side.submit(evaluate_pipelines, evaluator)
        for (name, stack), future in asked.items():
            try:
                programs[name, stack] = future.result()
            except EnvironmentFault:
                raise
            except HarnessError as error:
                errors[f"{name} for {stack}"] = error
        try:
            pipelines = asked_pipelines.result()
        except EnvironmentFault:
            raise
        except HarnessError as error:
            pipelines, errors["the pipelines"] = None, error
    return Evaluation(checkout, programs, pipelines, errors)


def _evaluator(checkout: Path, cache: Path, there: Sequence[str]) -> _Remembering:
    environment = environments.prepare(checkout, cache)
    kept = cache / DIRECTORY
    kept.mkdir(parents=True, exist_ok=True)
    for old in sorted(kept.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)
    inputs = {name: fingerprint(_inputs(checkout, environment.directory, name)) for name in ("", *there)}
    return _Remembering(checkout, environment, kept=kept, inputs=inputs)


def _inputs(checkout: Path, packages: Path, application: str) -> Iterator[str | bytes | Path]:
    yield packages.name
    yield OWN_DIRECTORY / "inside"
    for file in sorted(closure(checkout, application)):
        yield str(file)
        yield (checkout / file).read_bytes()
