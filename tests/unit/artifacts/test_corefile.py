"""CoreDNS is compiled with the plugins of a cluster's Corefile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.artifacts.corefile import check_corefile, plugins
from harness.base.errors import HarnessError
from harness.plan.versions import IMAGES

COREFILE = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    prometheus :9153 # as forward { }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }

    loop
}
"""
MANIFEST = "kind: ConfigMap\ndata:\n  Corefile: |\n" + "".join(
    f"    {line}\n" if line else "\n" for line in COREFILE.splitlines()
)
PACKAGES = {"prometheus": "metrics"}
"""Packages of plugins that have another name than their plugin."""
KUBEADM = ("cache", "errors", "forward", "health", "kubernetes", "loadbalance", "loop", "prometheus", "ready", "reload")
"""Plugins of the Corefile of kubeadm 1.34; a build asks kubeadm itself."""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that prints the file beside it, as kubeadm and CoreDNS do here."""
    file = tmp_path / "program"
    file.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat "{tmp_path}/$1"\n')
    file.chmod(0o755)
    (tmp_path / "init").write_text(MANIFEST)
    return file


def test_the_plugins_of_a_corefile() -> None:
    assert plugins(COREFILE) == ["errors", "health", "prometheus", "forward", "loop"]


def test_a_coredns_that_has_them_all(program: Path, tmp_path: Path) -> None:
    (tmp_path / "-plugins").write_text("\n".join([*plugins(COREFILE), "on"]))
    check_corefile(program, program, "1.34.4")
    assert "--kubernetes-version=v1.34.4" in (tmp_path / "asked").read_text()


def test_a_coredns_that_lacks_one_is_refused(program: Path, tmp_path: Path) -> None:
    (tmp_path / "-plugins").write_text("errors\nhealth\nforward\n")
    with pytest.raises(HarnessError, match=r"kubeadm 1\.34\.4 has the plugins prometheus, loop, which our CoreDNS"):
        check_corefile(program, program, "1.34.4")


def test_a_kubeadm_that_writes_no_corefile(program: Path, tmp_path: Path) -> None:
    (tmp_path / "init").write_text("kind: Service\n")
    with pytest.raises(HarnessError, match=r"kubeadm 1\.34\.4 prints no ConfigMap with a Corefile"):
        check_corefile(program, program, "1.34.4")


def test_ours_imports_what_kubeadm_asks_for_and_no_more() -> None:
    main = (IMAGES / "go/cluster/coredns/main.go").read_text()
    assert sorted(re.findall(r"coredns/plugin/(\w+)", main)) == sorted(PACKAGES.get(name, name) for name in KUBEADM)
