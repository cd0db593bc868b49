"""The plugins that a cluster's Corefile names, and that the CoreDNS of the node image has to have."""

from __future__ import annotations

import re
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.shell import run

COREFILE = re.compile(r"^  Corefile: \|\n((?: {4}.*\n|\n)+)", re.MULTILINE)


def check_corefile(kubeadm: Path, coredns: Path, kubernetes: str) -> None:
    """Check that CoreDNS has every plugin of the Corefile that kubeadm writes for a new cluster.

    Args:
        kubernetes: version of the cluster.

    Raises:
        HarnessError: it lacks one, or kubeadm writes no Corefile.
    """
    manifest = run(
        [kubeadm, "init", "phase", "addon", "coredns", "--print-manifest", f"--kubernetes-version=v{kubernetes}"],
        timeout=60,
        what="asking kubeadm for the Corefile",
    )
    found = COREFILE.search(manifest)
    if not found:
        raise HarnessError(f"kubeadm {kubernetes} prints no ConfigMap with a Corefile (init phase addon coredns)")
    has = run([coredns, "-plugins"], timeout=60, what="asking CoreDNS for its plugins").split()
    lacking = [name for name in plugins(found[1]) if name not in has]
    if lacking:
        raise HarnessError(
            f"The Corefile of kubeadm {kubernetes} has the plugins {', '.join(lacking)}, which our CoreDNS is compiled "
            "without: import them in images/go/cluster/coredns/main.go"
        )


def plugins(corefile: str) -> list[str]:
    """Return the names of the plugins in a Corefile, in their order."""
    depth, names = 0, []
    for line in corefile.splitlines():
        words = line.partition("#")[0].split()
        if depth == 1 and words and words[0] != "}":
            names.append(words[0])
        depth += words.count("{") - words.count("}")
    return names
