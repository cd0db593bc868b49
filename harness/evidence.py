"""Evidence: what a failed test leaves behind, so that nobody has to run it again to know why."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from harness import docker
from harness.cluster import Cluster
from harness.plan import Plan
from harness.roles import ROLES
from harness.shell import CommandError


def directory(root: Path, test: str) -> Path:
    """The directory for one test's evidence."""
    found = place(root, test)
    found.mkdir(parents=True, exist_ok=True)
    return found


def clear(root: Path, test: str) -> None:
    """Remove what an earlier run left of a test: it would be taken for this run's."""
    shutil.rmtree(place(root, test), ignore_errors=True)


def place(root: Path, test: str) -> Path:
    """Where the directory for one test's evidence is, or would be."""
    return root / re.sub(r"[^\w.-]+", "-", test).strip("-")


def collect(plan: Plan, cluster: Cluster, into: Path) -> None:
    """Keep the state of the whole deployment: pods, events, logs, the containers beside the cluster.

    What cannot be had any more is left out with its reason in its place; secrets of the run are blacked out.
    """
    for name, text in _pieces(plan, cluster):
        keep(plan, into / name, text)


def keep(plan: Plan, file: Path, text: str) -> None:
    """Write a file of evidence, the secrets of the run blacked out."""
    secrets = json.loads(plan.secrets.read_text()).values() if plan.secrets.exists() else ()
    file.write_text(redact(text, secrets))


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, and without tokens and cookies that a log may show."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    for pattern in _SECRET:
        text = re.sub(pattern, r"\1[redacted]", text)
    return text


_SECRET = (
    r"(?i)((?:token|_xsrf|password|authorization)[\"']?[=:][ \t]*[\"']?(?:basic |token |bearer )?)[\w.~+/=|:%-]{8,}",
    # A header, as a debug log shows it.
    r"(?i)(\bcookie[\"']?:\s*)[^\r\n]+",
    # A variable of a pod, in YAML: kubespawner gives each server its token so.
    r"(?i)(name: \w*(?:token|password|secret|database_url)\s+value: )\S+",
)


def _pieces(plan: Plan, cluster: Cluster) -> Iterable[tuple[str, str]]:
    for role in ROLES:
        namespace = role.namespace
        for name, args in (
            ("pods.txt", ("get", "pods", "--output=wide")),
            ("pods.yaml", ("get", "pods", "--output=yaml")),
            ("events.txt", ("get", "events", "--sort-by=.lastTimestamp")),
        ):
            try:
                yield f"{role.release}-{name}", cluster.kubectl("--namespace", namespace, *args)
            except CommandError as error:
                yield f"{role.release}-{name}", str(error)
        try:
            pods = cluster.pods(namespace).look()
        except (ApiException, HTTPError) as error:
            yield f"{role.release}-logs.txt", str(error)
            continue
        for pod in pods:
            for container in pod.spec.containers:
                for previous, which in ((False, ""), (True, "-before")):
                    # What ran before a restart says why there was one.
                    if log := cluster.logs(namespace, pod.metadata.name, container.name, previous=previous):
                        yield f"{role.release}-{pod.metadata.name}-{container.name}{which}.log", log
    for part in ("registry", "moto", "postgres"):
        yield f"{part}.log", docker.logs(f"{plan.name}-{part}")
