"""Answers to the owners' code when it asks for secrets, for AWS, or for something on the web."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import yaml

from .places import Line, Owners

ACCOUNT = "610119931565"
REGION = "us-east-1"
SOPS = "bridge.secrets.sops"
SECRETS = Path("src/bridge/secrets")
ENCRYPTED = "ENC["
CERTIFICATES = "https://truststore.pki.rds.amazonaws.com/"
REGIONS = ("us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1", "ca-central-1")
MAJORS = {"postgres": range(9, 31), "mysql": range(5, 13), "mariadb": range(10, 16)}
MINORS = range(31)


class LookupRefusedError(LookupError):
    """The owners' code asked something to which no answer is known."""


class Answers:
    """The answers, in place of the modules that would go and ask.

    Attributes:
        asked: calls of AWS that were answered, as service and call.
        unanswered: questions without an answer, and where they were asked, whether or not the code went on afterwards.
    """

    def __init__(self, checkout: Path, owners: Owners) -> None:
        self._checkout = checkout
        self._owners = owners
        self.asked: set[str] = set()
        self.unanswered: list[tuple[str, Line]] = []

    def install(self) -> None:
        """Put them in place, before anything of the owners' is imported."""
        sys.modules[SOPS] = self._sops()
        for module, replace in (("boto3", self._replace_boto3), ("httpx", self._replace_httpx)):
            if importlib.util.find_spec(module):
                replace(importlib.import_module(module))

    def refuse(self, question: str) -> NoReturn:
        """Fail at the owners' line, which asks what is not known."""
        if line := self._owners.asking():
            self.unanswered.append((question, line))
        raise LookupRefusedError(f"asks {question}, to which an evaluation has no answer")

    def _sops(self) -> ModuleType:
        module = ModuleType(SOPS)
        vars(module).update(
            read_yaml_secrets=self._secrets, read_json_secrets=self._secrets, set_env_secrets=lambda _file: None
        )
        return module

    def _secrets(self, sops_file: Path) -> Any:
        """Return a file of secrets as it is, with a text that names file and key for each that is encrypted."""
        path = self._checkout / SECRETS / sops_file
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content.pop("sops", None)
        return _readable(content, f"secret:{sops_file}#")

    def _replace_boto3(self, boto3: Any) -> None:
        boto3.client = lambda service, *_args, **_options: _Client(service, self)
        boto3.resource = lambda service, *_args, **_options: self.refuse(f"AWS for the resource {service}")
        boto3.Session = lambda *_args, **_options: self.refuse("AWS for a session")

    def _replace_httpx(self, httpx: Any) -> None:
        def get(url: Any, *_args: Any, **_options: Any) -> _Page:
            if not str(url).startswith(CERTIFICATES):
                self.refuse(f"for {url}")
            return _Page(f"the text of {url}")

        httpx.get = get


class _Client:
    """A client of an AWS service that knows a few answers."""

    def __init__(self, service: str, answers: Answers) -> None:
        self._service = service
        self._answers = answers
        self.exceptions = _Exceptions()
        self.meta = None

    def __getattr__(self, call: str) -> Callable[..., Any]:
        if call.startswith("__"):
            raise AttributeError(call)
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("ec2", "describe_regions"): _regions,
            ("rds", "describe_db_engine_versions"): _engine_versions,
            ("rds", "describe_db_instances"): self._no_database,
            ("rds", "get_paginator"): self._paginator,
        }

        def asked(*args: Any, **options: Any) -> Any:
            answer = known.get((self._service, call))
            if answer is None:
                self._answers.refuse(f"AWS for {self._service}.{call}")
            self._answers.asked.add(f"{self._service}.{call}")
            return answer(*args, **options)

        return asked

    def _paginator(self, call: str) -> _Pages:
        if (self._service, call) != ("rds", "describe_db_engine_versions"):
            self._answers.refuse(f"AWS for pages of {self._service}.{call}")
        return _Pages()

    def _no_database(self, **options: Any) -> NoReturn:
        """Answer as for a stack that is not there yet, so that nothing in force today has to be invented."""
        raise self.exceptions.DBInstanceNotFoundFault(f"there is no {options.get('DBInstanceIdentifier')}")


class _Exceptions:
    """The exceptions of a client, each made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, type[Exception]] = {}

    def __getattr__(self, name: str) -> type[Exception]:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._made.setdefault(name, type(name, (Exception,), {}))


class _Pages:
    def paginate(self, **options: Any) -> Iterator[dict[str, Any]]:
        yield _engine_versions(**options)


class _Page:
    """An answer of the web."""

    status_code = 200

    def __init__(self, text: str) -> None:
        self.text = text
        self.content = text.encode()

    def raise_for_status(self) -> _Page:
        return self


def _regions(**_options: Any) -> dict[str, Any]:
    return {"Regions": [{"RegionName": name, "Endpoint": f"ec2.{name}.amazonaws.com"} for name in REGIONS]}


# Its arguments have the names that boto3 gives them.
def _engine_versions(Engine: str = "", EngineVersion: str = "", **_options: Any) -> dict[str, Any]:  # noqa: N803
    """Return every version that there can be; of one that is asked for, its family of parameters."""
    engines = [Engine] if Engine else list(MAJORS)
    versions = [
        {"Engine": engine, "EngineVersion": version, "DBParameterGroupFamily": f"{engine}{version.partition('.')[0]}"}
        for engine in engines
        for version in ([EngineVersion] if EngineVersion else _versions(engine))
    ]
    return {"DBEngineVersions": versions}


def _versions(engine: str) -> list[str]:
    return [f"{major}.{minor}" for major in MAJORS.get(engine, ()) for minor in MINORS]


def _readable(content: Any, name: str) -> Any:
    if isinstance(content, dict):
        dot = "" if name.endswith("#") else "."
        return {key: _readable(value, f"{name}{dot}{key}") for key, value in content.items()}
    if isinstance(content, list):
        return [_readable(value, f"{name}[{index}]") for index, value in enumerate(content)]
    return name if isinstance(content, str) and content.startswith(ENCRYPTED) else content


def invoked(token: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a provider answers to a question of a program; None if that is not known."""
    if token == "aws:index/getCallerIdentity:getCallerIdentity":
        return {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "id": ACCOUNT, "userId": ACCOUNT}
    if token == "aws:iam/getPolicyDocument:getPolicyDocument":
        document = json.dumps(_policy(arguments), sort_keys=True)
        return {**arguments, "id": "document", "json": document, "minifiedJson": document}
    if token == "vault:generic/getSecret:getSecret":
        return {"path": arguments.get("path", ""), "id": "secret", "data": {}, "dataJson": "{}"}
    return None


class VaultTexts(dict[str, str]):
    """The fields of a secret in Vault: under every key a text that names path and key."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def __missing__(self, key: str) -> str:
        return f"secret:vault/{self._path}#{key}"

    def get(self, key: str, _default: Any = None) -> Any:
        return self[key]


def _policy(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a policy in AWS's own notation."""
    statements = []
    for given in arguments.get("statements", []):
        statement: dict[str, Any] = {"Effect": given.get("effect", "Allow")}
        for theirs, aws in (
            ("sid", "Sid"),
            ("actions", "Action"),
            ("notActions", "NotAction"),
            ("resources", "Resource"),
            ("notResources", "NotResource"),
        ):
            if theirs in given:
                statement[aws] = given[theirs]
        for theirs, aws in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
            for principal in given.get(theirs, []):
                statement.setdefault(aws, {}).setdefault(principal["type"], []).extend(principal["identifiers"])
        for condition in given.get("conditions", []):
            tests = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
            tests.setdefault(condition["variable"], []).extend(condition["values"])
        statements.append(statement)
    return {"Version": arguments.get("version", "2012-10-17"), "Statement": statements}
