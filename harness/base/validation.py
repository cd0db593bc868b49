"""Describe an error that pydantic finds, in one line for people."""

from __future__ import annotations

import reprlib

from pydantic import ValidationError

PLAINER = {
    "Input should be": "expected",
    "a valid string": "a text",
    "a valid dictionary": "a mapping",
    "a valid tuple": "a list",
}
"""Words of pydantic, each with plainer ones."""


def first_error(error: ValidationError) -> str:
    """Return where the first error is, what was expected there and what was found."""
    found = error.errors(include_url=False)[0]
    place = ": ".join(map(str, found["loc"]))
    match found["type"]:
        case "missing" | "missing_argument":
            text = "expected, and missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            text = "unknown"
        case "value_error":
            text = str(found["ctx"]["error"])
        case _:
            text = f"{found['msg']}, found {reprlib.repr(found['input'])}"
            for words, plainer in PLAINER.items():
                text = text.replace(words, plainer)
    return f"{place}: {text}" if place else text
