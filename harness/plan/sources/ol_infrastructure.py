"""A checkout of mitodl/ol-infrastructure: the owners' program evaluated, and what a run takes from it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.base.digest import fingerprint
from harness.base.errors import HarnessError
from harness.charts.chart import CHART_NAME, SPAWNER_NAME
from harness.charts.manifests import variables
from harness.plan.hubs import AUTHORING, HUBS, STUDENT, HubSpec
from harness.program import revision
from harness.program.errors import ProgramError
from harness.program.evaluate import canonical
from harness.program.evaluation import Evaluation, evaluate
from harness.program.model import STACKS, Program, ProgramRelease
from harness.program.pipelines import BuildJob

DIRECTORY = "program-values"
NO_STACK = "none"
"""In place of a stack: the program is checked, and the copy is made of values files alone."""


@dataclass(frozen=True)
class Base:
    """The revision that a checkout is compared with.

    Attributes:
        evaluation: None where it does not evaluate; `trouble` has the reason then.
    """

    name: str
    evaluation: Evaluation | None
    trouble: str = ""


@dataclass(frozen=True)
class OlInfrastructure:
    """A checkout, evaluated.

    Attributes:
        stack: the one that a copy is made of, or NO_STACK.
        revision: its commit in words; empty where it is no repository.
        base: None where there is nothing to compare with.
        hubs: the two hubs, under the names of the stack; with NO_STACK, of the last stack.
        values: the values of each release in a file; none with NO_STACK.
        spawner: the custom spawner in a file, as the students' values have it.
    """

    checkout: Path
    stack: str
    revision: str
    evaluation: Evaluation
    base: Base | None
    hubs: tuple[HubSpec, ...]
    values: Mapping[HubSpec, Path]
    spawner: Path

    @property
    def program(self) -> Program:
        """The program of the two hubs, for the stack."""
        return self.evaluation.program(_stack_or_last(self.stack))

    @property
    def student_release(self) -> ProgramRelease:
        return release_of(self.program, STUDENT)

    @property
    def chart_version(self) -> str:
        """Version of the JupyterHub chart that is deployed."""
        return self.student_release.version

    @property
    def chart_repository(self) -> str:
        """Address of the repository that it is deployed from; empty for a chart of another origin."""
        return self.student_release.repository

    @property
    def build_jobs(self) -> tuple[BuildJob, ...]:
        """Jobs that build courses' images; none where the pipelines do not evaluate."""
        return self.evaluation.pipelines.build_jobs if self.evaluation.pipelines else ()

    @property
    def built(self) -> frozenset[str]:
        """Courses that have a build job."""
        return frozenset(job.image_name for job in self.build_jobs)

    @property
    def pre_pulled(self) -> frozenset[str]:
        """Tags of the images that the students' pre-puller is given."""
        pre_puller = self.student_release.values.get("prePuller", {})
        return frozenset(str(each.get("tag")) for each in pre_puller.get("extraImages", {}).values())

    def __str__(self) -> str:
        counts = f"{len(self.pre_pulled)} courses pre-pulled, {len(self.built)} built"
        at = f" at {self.revision}" if self.revision else ""
        compared = f", compared with {self.base.name}" if self.base else ""
        named = " and ".join(f"{hub.release} in {hub.namespace}" for hub in self.hubs)
        return f"{self.checkout}{at}, {self.stack}: {named}, chart {self.chart_version}, {counts}{compared}"


def read(checkout: Path, cache: Path, stack: str = "Production", base: str = "") -> OlInfrastructure:
    """Evaluate a checkout for all stacks, and the revision that it is compared with.

    Args:
        cache: the harness's cache directory, in which environments, answers and values are kept.
        stack: the one that a copy is made of, in any case, or NO_STACK.
        base: the revision to compare with; without it, the commit at which the branch left the main branch.

    Raises:
        HarnessError: it is no such checkout, its packages cannot be had, or `base` is not there.
        ProgramError: the program does not evaluate for the stack; the owners' file and line are named.
    """
    stack = NO_STACK if stack.lower() == NO_STACK else canonical(stack)
    commit = revision.base_of(checkout, base)
    evaluation = evaluate(checkout, cache)
    program = evaluation.program(_stack_or_last(stack))
    found = {spec: release_of(program, spec) for spec in HUBS}
    hubs = tuple(named_in(program, spec) for spec in HUBS)
    texts = {spec: yaml.safe_dump(dict(release.values), allow_unicode=True) for spec, release in found.items()}
    spawner = _spawner(found[STUDENT])
    into = cache / DIRECTORY / fingerprint([spawner, *texts.values()])
    into.mkdir(parents=True, exist_ok=True)
    files = {spec: into / f"{spec.name}.{stack}.yaml" for spec in HUBS}
    for spec, file in files.items():
        file.write_text(texts[spec], encoding="utf-8")
    (into / SPAWNER_NAME).write_text(spawner, encoding="utf-8")
    return OlInfrastructure(
        checkout=checkout,
        stack=stack,
        revision=revision.describe(checkout),
        evaluation=evaluation,
        base=_base(checkout, commit, cache),
        hubs=hubs,
        values={} if stack == NO_STACK else files,
        spawner=into / SPAWNER_NAME,
    )


def release_of(program: Program, hub: HubSpec) -> ProgramRelease:
    """Return the release of a hub, whatever it is called.

    A hub is known by the name that it has today; of releases under other names, the authors' is the one whose servers
    are told of a bucket to publish to.

    Raises:
        ProgramError: there are not two hubs, or nothing tells them apart.
    """
    found = [release for release in program.releases if release.chart.rpartition("/")[2] == CHART_NAME]
    today = {release.name: release for release in found}
    if hub.release in today:
        return today[hub.release]
    others = [release for release in found if release.name not in {spec.release for spec in HUBS}]
    if len(others) == 1:
        return others[0]
    sides = {is_authors: [each for each in others if _has_bucket(each) == is_authors] for is_authors in (True, False)}
    if all(len(side) == 1 for side in sides.values()):
        return sides[hub == AUTHORING][0]
    raise ProgramError(
        f"{program.application} for {program.stack}: expected a release of the JupyterHub chart that is {hub.release}, "
        f"or the one that has (authors) or lacks (students) a NOTEBOOK_BUCKET; found {', '.join(today) or 'none'}\n"
        "The harness has to know the students' hub from the authors'."
    )


def _has_bucket(release: ProgramRelease) -> bool:
    return bool(variables(release.values.get("singleuser", {})).get("NOTEBOOK_BUCKET"))


def named_in(program: Program, hub: HubSpec) -> HubSpec:
    """Return a hub under the names that a program gives it; its database is the one in the address from Vault.

    Raises:
        ProgramError: as `release_of`.
    """
    release = release_of(program, hub)
    urls = [
        str(text)
        for secret in program.secrets
        if secret.namespace == release.namespace
        for key, text in secret.templates.items()
        if key == "DATABASE_URL"
    ]
    found = re.search(r"/([A-Za-z_][\w-]*)(?:\?.*)?$", urls[0]) if len(urls) == 1 else None
    return dataclasses.replace(
        hub, release=release.name, namespace=release.namespace, database=found[1] if found else hub.database
    )


def _stack_or_last(stack: str) -> str:
    return STACKS[-1] if stack == NO_STACK else stack


def _base(checkout: Path, commit: str, cache: Path) -> Base | None:
    """Evaluate the revision to compare with; one that does not evaluate is printed, and changes no verdict."""
    if not commit:
        return None
    name = revision.describe(checkout, commit)
    try:
        found = evaluate(revision.export(checkout, commit, cache), cache)
    except HarnessError as error:
        return Base(name, None, str(error))
    failed = [f"{what}: {error}" for what, error in found.errors.items()]
    return Base(name, found, "\n".join(failed))


def _spawner(release: ProgramRelease) -> str:
    extra: Mapping[str, Any] = release.values.get("hub", {}).get("extraConfig", {})
    if SPAWNER_NAME in extra:
        return str(extra[SPAWNER_NAME])
    found = ", ".join(extra) or "none"
    raise HarnessError(
        f"{release.place}: expected hub.extraConfig of the release {release.name} to have {SPAWNER_NAME}, the custom "
        f"spawner; found {found}\nThe harness takes the spawner from there, unless --spawner names a file."
    )
