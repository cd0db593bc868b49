"""What pydantic finds wrong, in a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from pydantic import TypeAdapter, ValidationError, with_config

from harness.base.validation import first_error


@with_config(extra="forbid")
@dataclass
class Thing:
    name: str
    colours: tuple[Literal["red", "blue"], ...] = ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name: expected, and missing"),
        ({"name": "a", "size": 1}, "size: unknown"),
        ({"name": 1}, "name: expected a text, found 1"),
        (["a" * 900] * 900, "expected a dictionary or an instance of Thing, found ['aaaaaaaaaaaa...aaaaaaaaaaaaa', "),
        ({"name": "a", "colours": ["red", "green"]}, "colours: 1: expected 'red' or 'blue', found 'green'"),
    ],
)
def test_place_expected_and_found(given: object, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        TypeAdapter(Thing).validate_python(given)
    found = first_error(error.value)
    assert found.startswith(message)
    assert len(found) < 300
