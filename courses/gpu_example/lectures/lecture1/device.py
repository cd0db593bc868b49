"""What the container was given to compute on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def gpus() -> list[str]:
    """The GPUs that the driver lists, a line each; none where it is not installed or does not answer."""
    driver = shutil.which("nvidia-smi")
    if not driver:
        return []
    listed = subprocess.run([driver, "--list-gpus"], capture_output=True, text=True, timeout=30, check=False)
    return listed.stdout.splitlines() if listed.returncode == 0 else []


def signs() -> dict[str, str]:
    """Where a GPU shows, and what is there. The variable alone proves nothing: CUDA's images set it on any machine."""
    return {
        "NVIDIA_VISIBLE_DEVICES": os.environ.get("NVIDIA_VISIBLE_DEVICES", "not set"),
        "/dev/nvidia0": "there" if Path("/dev/nvidia0").exists() else "not there",
        "nvidia-smi": "; ".join(gpus()) or "lists none",
    }


def device() -> str:
    """The name that a framework such as PyTorch would be given."""
    return "cuda" if gpus() else "cpu"
