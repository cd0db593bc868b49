"""Constants of a Python file that nobody runs: what is worked out, and how the rest is refused."""

from __future__ import annotations

import ast

import pytest

from harness.base.errors import HarnessError
from harness.plan.sources.constants import Constants


def constants(code: str) -> Constants:
    return Constants(ast.parse(code), "lists.py")


def refusal(code: str, name: str = "A", item: str = "base") -> str:
    with pytest.raises(HarnessError) as error:
        constants(code).texts_with(item, name)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


class TestWorkedOut:
    @pytest.mark.parametrize(
        ("code", "texts"),
        [
            ("A = ['x', 'y']", "x y"),
            ("A = {'x', 'y'}", "x y"),
            ("A = ('x',)", "x"),
            ("A: list[str] = ['x']", "x"),
            ("A: list[str]\nA = ['x']", "x"),
            ("A = frozenset({'x'})", "x"),
            ("A = set()\nA.add('x')", "x"),
            ("A = sorted({'x', 'x'})", "x"),
            ("A = ['x']\nA.append('y')", "x y"),
            ("A = ['x']\nA.extend(['y', 'z'])", "x y z"),
            ("A = {'x'}\nA.update({'y'})", "x y"),
            ("A = ['x']\nA += ['y']", "x y"),
            ("A = {'x'}\nA |= {'y'}", "x y"),
            ("A = ['x'] + ['y']", "x y"),
            ("B = {'y'}\nA = {'x'} | B", "x y"),
            ("B = ['y']\nA = ['x', *B]", "x y"),
            ("X = 'x'\nA = [X, 'y']", "x y"),
            ("A = ['x' + '.y']", "x.y"),
            ("A = [f'u.{i}' for i in ['intro', 0, '0a']]", "u.0 u.0a u.intro"),
            ("A = {f'u.{i}{j}' for i in [1, 2] for j in ['a', 'b']}", "u.1a u.1b u.2a u.2b"),
            ("N = [1]\nA = ['x']\nA.extend(f'u.{i}' for i in N)", "u.1 x"),
            ("PRE = 'u'\nA = list(f'{PRE}.{i}' for i in (1,))", "u.1"),
            ("A = B = ['x']", "x"),
            ("A = ['x']\nA = ['y']", "y"),
            ("A = ['x']\nA.sort()\nprint(A)\nlen(A)", "x"),
            ("A = [who()]\nA = ['x']", "x"),
            ("A = []", ""),
        ],
    )
    def test_list(self, code: str, texts: str) -> None:
        assert " ".join(sorted(constants(code).texts_with("base", "A"))) == texts

    def test_text(self) -> None:
        assert constants("A = 1\nV = '4.4.1'").text("V") == "4.4.1"

    def test_trouble_elsewhere_does_not_count(self) -> None:
        assert constants("import os\nB = os.environ['B']\nB.extend([1])\nA = ['x']").texts_with("base", "A") == {"x"}


class TestRenamed:
    def test_the_list_that_holds_the_item(self) -> None:
        assert constants("C = 'base'\nB = ['base', 'x']\nD = ['y']").texts_with("base", "A") == {"base", "x"}

    def test_the_name_wins(self) -> None:
        assert constants("B = ['base', 'x']\nA = ['y']").texts_with("base", "A") == {"y"}

    def test_an_item_by_a_name(self) -> None:
        assert constants("C = 'base'\nB = [C, 'x']").texts_with("base", "A") == {"base", "x"}

    def test_the_one_that_holds_the_others(self) -> None:
        assert constants("B = ['base']\nC = {'x'}\nD = B + ['x']").texts_with("base", "A") == {"base", "x"}

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("", "lists.py: expected A, or a list by another name that has base; found none"),
            ("B = ['x']", "lists.py: expected A, or a list by another name that has base; found none"),
            (
                "B = ['base', 'x']\nC = ['base', 'y']",
                "lists.py: expected A, or one list that has base; found B, C, none of which holds the others",
            ),
            ("B = ['base']\nB.extend(more())", "lists.py, line 2: expected literals, "),
            ("B = ['base', *more()]\nC = ['base']", "lists.py, line 1: expected literals, "),
            ("C = ['base']\nB = C + more()", "lists.py, line 2: expected literals, "),
        ],
    )
    def test_refused(self, code: str, message: str) -> None:
        assert refusal(code).startswith(message)


class TestRefused:
    @pytest.mark.parametrize(
        ("code", "line", "found"),
        [
            ("A = more()", 1, "more()"),
            ("\nA = ['x', more()]", 2, "more()"),
            ("A = ['x']\nA.extend(more())", 2, "more()"),
            ("A = ['x']\nA.extend('y')", 2, "A.extend('y')"),
            ("A = ['x']\nA.remove('x')", 2, "A.remove('x')"),
            ("A = ['x']\nA -= ['x']", 2, "A -= ['x']"),
            ("A = ['x']\nA[0] = 'y'", 2, "A[0] = 'y'"),
            ("A = ['x']\ndel A[0]", 2, "del A[0]"),
            ("A = ['x']\nif dev:\n    A.append('y')", 2, "if dev:"),
            ("A = ['x']\nfor i in [1]:\n    A.append(f'u.{i}')", 2, "for i in [1]:"),
            ("A, B = ['x'], ['y']", 1, "A, B = (['x'], ['y'])"),
            ("from lists import A", 1, "from lists import A"),
            ("from lists import B\nA = ['x', *B]", 1, "from lists import B"),
            ("A = [x for x in ['x'] if x]", 1, "['x']"),
            ("A = [f'u.{i:03}' for i in [1]]", 1, ""),
            ("A = [f'u.{i!r}' for i in [1]]", 1, ""),
            ("A = [f'u.{i}' for i in range(3)]", 1, "range(3)"),
            ("A = {'x': 1}", 1, "{'x': 1}"),
            ("A = {'x'} - {'y'}", 1, "{'x'} - {'y'}"),
            ("A = [True]", 1, "True"),
            ("A = list('xy')", 1, "list('xy')"),
            ("A = [*'xy']", 1, "*'xy'"),
        ],
    )
    def test_what_is_not_worked_out_is_named(self, code: str, line: int, found: str) -> None:
        message = refusal(code)
        assert message.startswith(f"lists.py, line {line}: expected literals, and lists, f-strings and names of such, ")
        assert f"nothing of this file is run; found {found}" in message

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("A = 'x'", "lists.py: expected A to be a list of texts, found 'x'"),
            ("A = ['x', 1]", "lists.py: expected A to hold texts alone, found 1"),
        ],
    )
    def test_something_else(self, code: str, message: str) -> None:
        assert refusal(code) == message

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("", "lists.py: expected a constant V, found none"),
            ("V = 4", "lists.py: expected V to be a text, found 4"),
            ("V = version()", "lists.py, line 1: expected literals, "),
        ],
    )
    def test_text(self, code: str, message: str) -> None:
        with pytest.raises(HarnessError) as error:
            constants(code).text("V")
        assert str(error.value).startswith(message)
