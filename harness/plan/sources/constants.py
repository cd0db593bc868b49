"""Constants of a Python file, worked out from its syntax tree: the file is never imported and nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from harness.base.errors import HarnessError

Value: TypeAlias = "str | int | tuple[Value, ...]"
"""What can be worked out. A tuple stands for a list, a set or a tuple, in the order in which it is written."""

GROW_BY_ONE = ("append", "add")
GROW_BY_MANY = ("extend", "update")
SHRINK_OR_SHUFFLE = ("insert", "remove", "pop", "discard", "clear", "difference_update", "intersection_update")
COPIES = ("list", "set", "tuple", "frozenset", "sorted")


class _UnreadableError(Exception):
    """Something that this module does not work out."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__()
        self.line = getattr(node, "lineno", 0)
        self.code = ast.unparse(node).splitlines()[0][:80]


@dataclass(frozen=True)
class _Constant:
    """What is known of a name at the end of the file.

    Attributes:
        value: as far as it could be worked out.
        trouble: what could not be.
        texts: every literal text that went into it, readable or not.
    """

    value: Value = ()
    trouble: _UnreadableError | None = None
    texts: frozenset[str] = frozenset()

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, tuple)


class Constants:
    """The constants at the top level of one file.

    Worked out are texts, integers, lists, sets and tuples of them, f-strings and comprehensions over those, names of
    other such constants, `+` and `|`, and lists and sets that grow by `append`, `add`, `extend`, `update`, `+=`, `|=`.
    Anything else is trouble, told only when the constant that it went into is asked for.

    Args:
        where: how a message names the file.
    """

    def __init__(self, tree: ast.Module, where: str) -> None:
        self._where = where
        self._found: dict[str, _Constant] = {}
        self._lines: dict[str, list[int]] = {}
        for statement in tree.body:
            self._take(statement)
            for name in _changed(statement):
                self._lines.setdefault(name, []).append(statement.end_lineno or statement.lineno)

    def text(self, name: str) -> str:
        """A constant that is a text.

        Raises:
            HarnessError: there is none of that name, or it is something else.
        """
        if name not in self._found:
            raise HarnessError(f"{self._where}: expected a constant {name}, found none")
        value = self._readable(name)
        if not isinstance(value, str):
            raise HarnessError(f"{self._where}: expected {name} to be a text, found {value!r}")
        return value

    def texts_with(self, item: str, name: str) -> frozenset[str]:
        """The texts of a list: of the one with a name or, if it was renamed, of the one that holds an item.

        Of several that hold the item it is the one that holds the others.

        Raises:
            HarnessError: there is no such list, or it cannot be worked out (the line and the code are named).
        """
        return self._texts(self.list_with(item, name))

    def list_with(self, item: str, name: str, *, without: str = "") -> str:
        """The name of a list: the one given or, if it was renamed, the one that holds an item and not another.

        Of several that hold the item it is the one that holds the others.

        Raises:
            HarnessError: there is no such list, or it cannot be worked out (the line and the code are named).
        """
        if name in self._found:
            return name
        holders = [it for it, constant in self._found.items() if constant.is_list and item in constant.texts]
        lists = {holder: texts for holder in holders if without not in (texts := self._texts(holder))}
        if not lists:
            raise HarnessError(f"{self._where}: expected {name}, or a list by another name that has {item}; found none")
        largest = max(lists, key=lambda holder: len(lists[holder]))
        if not all(each <= lists[largest] for each in lists.values()):
            raise HarnessError(
                f"{self._where}: expected {name}, or one list that has {item}; found {', '.join(lists)}, none of which "
                "holds the others"
            )
        return largest

    def last_line(self, name: str) -> int:
        """The line at whose end a constant has its value, counted from 1."""
        return max(self._lines[name])

    def text_or_none(self, node: ast.expr) -> str | None:
        """An expression that is a text or None.

        Raises:
            HarnessError: it is something else (the line and the code are named).
        """
        if isinstance(node, ast.Constant) and node.value is None:
            return None
        try:
            value = self._value(node, {})
        except _UnreadableError as trouble:
            raise self._error(trouble) from None
        if not isinstance(value, str):
            raise self._error(_UnreadableError(node))
        return value

    def _texts(self, name: str) -> frozenset[str]:
        value = self._readable(name)
        if not isinstance(value, tuple):
            raise HarnessError(f"{self._where}: expected {name} to be a list of texts, found {value!r}")
        texts = frozenset(item for item in value if isinstance(item, str))
        if other := [item for item in value if not isinstance(item, str)]:
            raise HarnessError(f"{self._where}: expected {name} to hold texts alone, found {other[0]!r}")
        return texts

    def _readable(self, name: str) -> Value:
        constant = self._found[name]
        if constant.trouble:
            raise self._error(constant.trouble)
        return constant.value

    def _error(self, trouble: _UnreadableError) -> HarnessError:
        return HarnessError(
            f"{self._where}, line {trouble.line}: expected literals, and lists, f-strings and names of such, "
            f"because nothing of this file is run; found {trouble.code}"
        )

    def _take(self, statement: ast.stmt) -> None:
        """Learn what a statement at the top level does to constants."""
        match statement:
            case ast.Assign(targets=targets, value=value) if all(isinstance(it, ast.Name) for it in targets):
                for target in targets:
                    self._assign(ast.unparse(target), value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._assign(name, value)
            case ast.AugAssign(target=ast.Name(id=name), op=ast.Add() | ast.BitOr(), value=value):
                self._grow(name, value, statement)
            case ast.Expr(
                ast.Call(ast.Attribute(ast.Name(id=name), attr=method), args=[ast.expr() as value], keywords=[])
            ) if method in GROW_BY_ONE:
                self._grow(name, ast.List([value], ast.Load()), statement)
            case ast.Expr(
                ast.Call(ast.Attribute(ast.Name(id=name), attr=method), args=[ast.expr() as value], keywords=[])
            ) if method in GROW_BY_MANY:
                self._grow(name, value, statement)
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    name = alias.asname or alias.name
                    self._found[name] = _Constant("", _UnreadableError(statement))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass
            case _:
                for name in _changed(statement):
                    before = self._found.get(name, _Constant())
                    trouble = before.trouble or _UnreadableError(statement)
                    self._found[name] = _Constant(before.value, trouble, before.texts | _literals(statement))

    def _assign(self, name: str, node: ast.expr) -> None:
        texts = _literals(node) | self._texts_of_names_in(node)
        try:
            value = self._value(node, {})
        except _UnreadableError as trouble:
            looks_like_one = isinstance(
                node, ast.List | ast.Set | ast.Tuple | ast.ListComp | ast.SetComp | ast.BinOp
            ) or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in COPIES)
            self._found[name] = _Constant(() if looks_like_one else "", trouble, texts)
        else:
            self._found[name] = _Constant(value, None, texts | _texts_in(value))

    def _grow(self, name: str, node: ast.expr, statement: ast.stmt) -> None:
        before = self._found.get(name)
        if before is None:
            return
        trouble, value = before.trouble, before.value
        try:
            more = self._value(node, {})
            if not isinstance(value, tuple) or not isinstance(more, tuple):
                raise _UnreadableError(statement)
            value += more
        except _UnreadableError as problem:
            trouble = trouble or problem
        texts = before.texts | _literals(node) | self._texts_of_names_in(node) | _texts_in(value)
        self._found[name] = _Constant(value, trouble, texts)

    def _texts_of_names_in(self, node: ast.expr) -> frozenset[str]:
        names = {it.id for it in ast.walk(node) if isinstance(it, ast.Name)}
        return frozenset().union(*(self._found[name].texts for name in names & self._found.keys()))

    def _value(self, node: ast.expr, local: Mapping[str, Value]) -> Value:
        """What an expression comes to, `local` being the names of the comprehensions around it."""
        match node:
            case ast.Constant(value=str() | int() as value) if not isinstance(value, bool):
                return value
            case ast.Name(id=name) if name in local:
                return local[name]
            case ast.Name(id=name) if name in self._found:
                if trouble := self._found[name].trouble:
                    raise trouble
                return self._found[name].value
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return tuple(each for item in items for each in self._items(item, local))
            case ast.JoinedStr(values=parts):
                return "".join(self._part(part, local) for part in parts)
            case ast.ListComp(elt, generators) | ast.SetComp(elt, generators) | ast.GeneratorExp(elt, generators):
                return tuple(self._value(elt, names) for names in self._loops(generators, local))
            case ast.BinOp(left=left, op=ast.Add() | ast.BitOr() as operator, right=right):
                one, other = self._value(left, local), self._value(right, local)
                if isinstance(one, tuple) and isinstance(other, tuple):
                    return one + other
                if isinstance(one, str) and isinstance(other, str) and isinstance(operator, ast.Add):
                    return one + other
            case ast.Call(func=ast.Name(id=name), args=[], keywords=[]) if name in COPIES:
                return ()
            case ast.Call(func=ast.Name(id=name), args=[ast.expr() as copied], keywords=[]) if name in COPIES:
                inner = self._value(copied, local)
                if isinstance(inner, tuple):
                    return inner
        raise _UnreadableError(node)

    def _items(self, item: ast.expr, local: Mapping[str, Value]) -> tuple[Value, ...]:
        if not isinstance(item, ast.Starred):
            return (self._value(item, local),)
        value = self._value(item.value, local)
        if not isinstance(value, tuple):
            raise _UnreadableError(item)
        return value

    def _part(self, part: ast.expr, local: Mapping[str, Value]) -> str:
        """A part of an f-string."""
        if isinstance(part, ast.FormattedValue):
            value = self._value(part.value, local)
            if part.conversion != -1 or part.format_spec or isinstance(value, tuple):
                raise _UnreadableError(part)
            return str(value)
        return str(self._value(part, local))

    def _loops(self, generators: list[ast.comprehension], local: Mapping[str, Value]) -> Iterator[Mapping[str, Value]]:
        """The names that the loops of a comprehension give, round by round."""
        if not generators:
            yield local
            return
        first, *rest = generators
        over = self._value(first.iter, local)
        if not isinstance(first.target, ast.Name) or first.ifs or first.is_async or not isinstance(over, tuple):
            raise _UnreadableError(first.iter)
        for item in over:
            yield from self._loops(rest, {**local, first.target.id: item})


def _changed(statement: ast.stmt) -> set[str]:
    """Names that a statement gives a value or changes in place."""
    names = set()
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Attribute(value=ast.Name(id=name), attr=method) if method in (
                *GROW_BY_ONE,
                *GROW_BY_MANY,
                *SHRINK_OR_SHUFFLE,
            ):
                names.add(name)
    return names


def _literals(node: ast.AST) -> frozenset[str]:
    return frozenset(it.value for it in ast.walk(node) if isinstance(it, ast.Constant) and isinstance(it.value, str))


def _texts_in(value: Value) -> frozenset[str]:
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, tuple) else frozenset()
