"""Pulumi's own mocks, set up so that a program runs as in a preview and every resource that it asks for is recorded."""

from __future__ import annotations

import functools
import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pulumi.runtime.mocks
from google.protobuf import json_format, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import resource_pb2

from .answers import ACCOUNT, REGION, Answers, VaultTexts, invoked
from .configuration import Configuration, cluster_outputs
from .places import Line, Owners, ended_well

STACK_REFERENCE = "pulumi:pulumi:StackReference"
VAULT_SECRET = "vault:generic/getSecret:getSecret"
CLUSTERS = Path("src/ol_infrastructure/infrastructure/aws/eks")
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key under which Pulumi marks a value as something special, a secret among others."""
UNKNOWN = "(unknown until it is applied)"
POLICIES = ("policy", "assumeRolePolicy")
"""Properties that AWS' provider gives back as text when it is given an object."""


@dataclass
class Recorded:
    """A resource that a program asks for."""

    type: str
    name: str
    custom: bool
    inputs: dict[str, Any]
    line: Line | None

    def as_json(self) -> dict[str, Any]:
        line = self.line.as_json() if self.line else {"file": "", "line": 0}
        return {"type": self.type, "name": self.name, "custom": self.custom, "inputs": self.inputs, **line}


@dataclass
class Engine:
    """A program run under mocks.

    Attributes:
        lines: of the resources, by type and name.
        resources: in the order in which they were registered, which is not that of the program.
        references: outputs that were asked of other stacks, as stack and output.
        deleted_first: references to other stacks that are deleted before they are replaced.
    """

    checkout: Path
    configuration: Configuration
    owners: Owners
    answers: Answers
    resources: list[Recorded] = field(default_factory=list)
    references: set[tuple[str, str]] = field(default_factory=set)
    deleted_first: set[str] = field(default_factory=set)
    lines: dict[tuple[str, str], Line | None] = field(default_factory=dict)

    def run(self, directory: Path) -> None:
        """Run a program to its end; what it raises, it raises here."""
        self._wrap_resources(str(directory.relative_to(self.checkout)))
        self._wrap_invokes()
        self._wrap_references()
        pulumi.runtime.set_all_config(self.configuration.values, list(self.configuration.secret))
        pulumi.runtime.set_mocks(
            _Mocks(),
            project=self.configuration.project,
            stack=self.configuration.stack,
            preview=True,
            monitor=_monitor(self),
        )

        def program() -> None:
            with ended_well():
                runpy.run_path(str(directory), run_name="__main__")

        pulumi.runtime.test(program)()

    def register(self, kind: str, name: str, custom: bool, properties: Any) -> tuple[str, Any]:
        """Record a resource, and return its identifier and what its provider gives back."""
        inputs = json_format.MessageToDict(properties)
        plain = _plain(inputs)
        self.resources.append(Recorded(kind, name, custom, plain, self.lines.get((kind, name))))
        if not custom:
            return "", struct_pb2.Struct()
        for key in POLICIES:
            if kind.startswith("aws:") and isinstance(inputs.get(key), dict) and SIGNATURE not in inputs[key]:
                inputs[key] = _text(inputs[key])
        called = plain.get("name") or plain.get("bucket") or name
        made_up = {"address": f"the address of {name}", "arn": _arn(kind, str(called))}
        if not kind.startswith("kubernetes:"):
            made_up["name"] = name
        outputs = struct_pb2.Struct()
        outputs.update({**made_up, **inputs})
        return f"the id of {name}", outputs

    def _wrap_resources(self, directory: str) -> None:
        """Note the program's own line for each resource, not that of a component that it uses.

        What reads a resource that is there already has no answer.
        """
        original = pulumi.Resource.__init__

        @functools.wraps(original)
        def init(resource: Any, kind: str, name: str, *args: Any, **options: Any) -> None:
            self.lines.setdefault((kind, name), self.owners.asking_from(directory))
            opts = options.get("opts") or next((it for it in args if isinstance(it, pulumi.ResourceOptions)), None)
            if opts is not None and opts.id is not None and kind != STACK_REFERENCE:
                self.answers.refuse(f"for the {kind} that is there as {opts.id}")
            if opts is not None and opts.delete_before_replace and kind == STACK_REFERENCE:
                self.deleted_first.add(name)
            original(resource, kind, name, *args, **options)

        pulumi.Resource.__init__ = init

    def _wrap_invokes(self) -> None:
        """Refuse questions at the line that asks: they are put later, when that is out of sight."""

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def ask(token: str, arguments: Any, *args: Any, **options: Any) -> Any:
                if invoked(token, {}) is None:
                    self.answers.refuse(f"a provider for {token}")
                answer = original(token, arguments, *args, **options)
                return _with_texts(answer, arguments["path"]) if token == VAULT_SECRET else answer

            return ask

        for name in ("invoke", "invoke_async", "invoke_output", "invoke_output_single", "invoke_single", "call"):
            if original := getattr(pulumi.runtime, name, None):
                setattr(pulumi.runtime, name, wrap(original))

    def _wrap_references(self) -> None:
        """Give the outputs of other stacks that are in the checkout itself; all others are unknown."""
        reference = pulumi.StackReference
        require, get, details = reference.require_output, reference.get_output, reference.get_output_details

        def known(stack: Any, name: Any) -> Any:
            self.references.add((stack._name, str(name)))
            return cluster_outputs(self.checkout / CLUSTERS, stack._name).get(name)

        def require_output(stack: Any, name: Any) -> Any:
            value = known(stack, name)
            return require(stack, name) if value is None else pulumi.Output.from_input(value)

        def get_output(stack: Any, name: Any) -> Any:
            value = known(stack, name)
            return get(stack, name) if value is None else pulumi.Output.from_input(value)

        async def get_output_details(stack: Any, name: str) -> Any:
            # It is asked for by programs that cannot go on without, to set up a provider that nothing here uses.
            value = f"the kube_config of {stack._name}" if name == "kube_config" else known(stack, name)
            if value is None:
                return await details(stack, name)
            return pulumi.StackReferenceOutputDetails(value=value)

        reference.require_output = require_output
        reference.get_output = get_output
        reference.get_output_details = get_output_details


class _Mocks:
    """Answers to questions that are put to providers; resources are the monitor's own business."""

    def call(self, arguments: Any) -> Any:
        return invoked(arguments.token, arguments.args) or {}

    def new_resource(self, arguments: Any) -> Any:
        raise LookupError(f"{arguments.typ} was read, which an evaluation does not know")


def _monitor(engine: Engine) -> Any:
    """Return a monitor that keeps unknown values apart from those that are left out."""

    class Monitor(pulumi.runtime.mocks.MockMonitor):  # type: ignore[misc]  # pulumi is not here
        def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # Pulumi's name
            urn = self.make_urn(request.parent, request.type, request.name)
            if request.type == "pulumi:pulumi:Stack":
                return resource_pb2.RegisterResourceResponse(urn=urn)
            identifier, outputs = engine.register(request.type, request.name, request.custom, request.object)
            return resource_pb2.RegisterResourceResponse(urn=urn, id=identifier, object=outputs)

        def ReadResource(self, request: Any) -> Any:  # noqa: N802  # Pulumi's name
            properties = struct_pb2.Struct()
            properties.update({"name": request.name, "outputs": rpc.UNKNOWN, "secretOutputNames": []})
            urn = self.make_urn(request.parent, request.type, request.name)
            return resource_pb2.ReadResourceResponse(urn=urn, properties=properties)

    return Monitor(_Mocks())


def _with_texts(answer: Any, path: Any) -> Any:
    """Give the answer for a secret in Vault a text under every key; nothing in the checkout lists the keys."""

    def fill(given: Any) -> Any:
        pulumi.set(given, "data", VaultTexts(str(path)))
        return given

    if isinstance(answer, pulumi.Output):
        return answer.apply(fill)
    if hasattr(answer, "value"):
        fill(answer.value)
    return answer


def _plain(value: Any) -> Any:
    """Return a value as a provider takes it: without the marks of Pulumi, and without keys that have none.

    Integers come as floats, and what is unknown as one text.
    """
    if isinstance(value, dict):
        if SIGNATURE in value and "value" in value:
            return _plain(value["value"])
        return {key: _plain(value[key]) for key in sorted(value) if value[key] is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return UNKNOWN if isinstance(value, str) and value == rpc.UNKNOWN else value


def _text(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def _arn(kind: str, name: str) -> str:
    service = kind.removeprefix("aws:").partition("/")[0]
    if service == "s3":
        return f"arn:aws:s3:::{name}"
    region = "" if service == "iam" else REGION
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{name}"
