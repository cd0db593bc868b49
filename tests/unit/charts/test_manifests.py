"""What is read of the objects that a chart renders."""

from __future__ import annotations

from typing import Any

import pytest

from harness.charts.manifests import Manifest, hub_image, secret_reference, variables

SOURCE = {"valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, {}),
        ({"A": "1", "B": SOURCE}, {"A": "1", "B": SOURCE}),
        ({"A": {"value": "1"}}, {"A": "1"}),
        ([{"name": "A", "value": "1"}, {"name": "B", **SOURCE}], {"A": "1", "B": {"name": "B", **SOURCE}}),
    ],
)
def test_variables_in_every_form_that_the_chart_takes(given: Any, found: dict[str, Any]) -> None:
    assert variables({"extraEnv": given}) == found


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        (SOURCE, {"name": "database", "key": "url"}),
        ("postgresql://host/hub", {}),
        ({"valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}, {}),
        (None, {}),
    ],
)
def test_a_variables_secret_is_the_one_that_it_comes_from(variable: Any, found: dict[str, str]) -> None:
    assert secret_reference(variable) == found


def test_the_hubs_image_is_that_of_the_hub() -> None:
    """Values may give its pod further containers, and some that run before."""
    spec = {
        "initContainers": [{"name": "first", "image": "busybox"}],
        "containers": [{"name": "hub", "image": "k8s-hub"}, {"name": "exporter", "image": "exporter"}],
    }
    hub: Manifest = {"kind": "Deployment", "metadata": {"name": "hub"}, "spec": {"template": {"spec": spec}}}
    assert hub_image([hub]) == "k8s-hub"
