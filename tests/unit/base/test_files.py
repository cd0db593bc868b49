"""Files that containers read as another user than the one who wrote them."""

from __future__ import annotations

from pathlib import Path

from harness.base.files import make_readable


def test_what_a_umask_of_077_made_is_readable(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    modes = {"program": 0o700, "inner/text": 0o600, "shared": 0o664}
    for name, mode in modes.items():
        (root / name).touch()
        (root / name).chmod(mode)
    (root / "inner/dangling").symlink_to("nowhere")
    for directory in (root / "inner", root):
        directory.chmod(0o700)
    make_readable(root)
    names = (".", "inner", "program", "inner/text", "shared")
    assert [(root / name).stat().st_mode & 0o777 for name in names] == [0o755, 0o755, 0o755, 0o644, 0o664]
