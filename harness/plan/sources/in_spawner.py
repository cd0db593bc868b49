"""Extend the lists of courses in a spawner file. Appended to the file, and run by the hub that loads it.

The lists are found by what is in them, whatever their names and types: those that have the default course, and those
that have courses with a GPU and none without.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def extend_lists(
    namespace: dict[str, Any],
    added: Mapping[str, bool],
    default_course: str,
    gpu_courses: Collection[str],
    cpu_courses: Collection[str],
) -> None:
    """Add courses to the lists of a namespace.

    Args:
        namespace: module-level names of the spawner file.
        added: whether each new course needs a GPU, by its tag.
        default_course: the course that every list of known courses has.
        gpu_courses, cpu_courses: courses by which a list of courses with a GPU is known.

    Raises:
        LookupError: there is no list of known courses, or none of courses with a GPU where one is needed.
    """
    gpu = [course for course, needs_gpu in added.items() if needs_gpu]
    known_lists = gpu_lists = 0
    for owner, name, value in list(_collections(namespace)):
        if default_course in value:
            _extend(owner, name, value, list(added), default_course)
            known_lists += 1
        elif gpu and any(each in value for each in gpu_courses) and not any(each in value for each in cpu_courses):
            _extend(owner, name, value, gpu, next(each for each in gpu_courses if each in value))
            gpu_lists += 1
    if not known_lists:
        raise LookupError(f"expected a list of courses with {default_course} in the spawner file, found none")
    if gpu and not gpu_lists:
        raise LookupError(f"expected a list of courses with a GPU in the spawner file, found none for {gpu[0]}")


def _collections(namespace: dict[str, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Yield the collections of texts among the names of a module and in the classes it defines."""
    seen = set()
    for name, value in list(namespace.items()):
        found: list[tuple[Any, str, Any]] = [(namespace, name, value)]
        if isinstance(value, type) and value.__module__ == namespace.get("__name__"):
            found = [(value, key, each) for key, each in vars(value).items()]
        for owner, key, each in found:
            is_collection = isinstance(each, list | tuple | set | frozenset | dict)
            if is_collection and each and id(each) not in seen and all(isinstance(item, str) for item in each):
                seen.add(id(each))
                yield owner, key, each


def _extend(owner: Any, name: str, value: Any, courses: list[str], like: str) -> None:
    """Extend a collection in place where it can be, for names that share it; an entry of a dict is like another's."""
    if isinstance(value, list):
        value.extend(courses)
    elif isinstance(value, set):
        value.update(courses)
    elif isinstance(value, dict):
        value.update(dict.fromkeys(courses, value[like]))
    elif isinstance(owner, dict):
        owner[name] = type(value)([*value, *courses])
    else:
        setattr(owner, name, type(value)([*value, *courses]))
