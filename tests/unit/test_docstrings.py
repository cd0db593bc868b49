"""Docstrings outside tests begin with a verb or a noun, so that their first line can be read alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUESTION_WORDS = {"what", "why", "who", "how", "whether", "of", "those"}


def test_no_docstring_begins_with_a_question_word() -> None:
    """No docstring of the harness, or of a fixture, begins with a question word, Of or Those."""
    files = [ROOT / "conftest.py", *sorted(ROOT.glob("harness/**/*.py")), *sorted(ROOT.glob("fixtures/**/*.py"))]
    found = [line for file in files for line in question_lines(file, str(file.relative_to(ROOT)))]
    assert not found, "a docstring begins with a verb (functions) or a noun (the rest):\n" + "\n".join(found)


def test_question_words_are_found_everywhere(tmp_path: Path) -> None:
    """Docstrings of modules, classes, functions and attributes are all looked at."""
    file = tmp_path / "module.py"
    file.write_text(
        '"""Why: a module."""\n'
        "LIMIT = 1\n"
        '"""How many."""\n'
        "class Thing:\n"
        '    """Whether it is one."""\n'
        "    size = 1\n"
        '    """OF a thing."""\n'
        "    async def grow(self):\n"
        '        """Return the size that it has then."""\n'
        '        text = """What is no docstring"""\n'
    )
    assert [line.split(": ")[0] for line in question_lines(file, "m")] == ["m:1", "m:3", "m:5", "m:7"]


def question_lines(file: Path, name: str) -> Iterator[str]:
    """Yield the place and first line of each docstring of a file that begins with a question word."""
    for node in ast.walk(ast.parse(file.read_text())):
        for statement in getattr(node, "body", []) if isinstance(node, ast.Module | ast.ClassDef | FUNCTION) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str() as text)):
                    first, *_ = text.split(maxsplit=1) or [""]
                    if first.strip(",:.").lower() in QUESTION_WORDS:
                        yield f"{name}:{statement.lineno}: {text.splitlines()[0]}"


FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
