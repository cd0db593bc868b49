"""Take secrets out of texts and values that are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "[redacted]"
"""The text in place of a secret."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets, and without tokens and cookies that a log or a page may show."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern in _ACROSS_LINES:
        text = pattern.sub(_hidden, text)
    return "".join(map(_redact_line, text.splitlines(keepends=True)))


def _redact_line(line: str) -> str:
    lowered = line.lower()
    for hints, pattern in _IN_A_LINE:
        # Megabytes of logs have few lines with such a word, and a look for a word is a hundred times faster.
        if any(hint in lowered for hint in hints):
            line = pattern.sub(_hidden, line)
    return line


def scrub(value: Any) -> Any:
    """Copy values, or an answer in JSON, without the texts and lists of texts whose keys name a secret.

    Secrets inside a text are left to redact().
    """
    if isinstance(value, list):
        return [scrub(each) for each in value]
    if not isinstance(value, dict):
        return value
    # A variable, as a pod has it.
    variable = "value" in value and _is_secret(str(value.get("name", "")))
    return {
        key: HIDDEN if (variable and key == "value") or (_is_secret(str(key)) and _is_text(each)) else scrub(each)
        for key, each in value.items()
    }


def _is_secret(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _NAME_OF_SECRET.search(key)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _hidden(match: re.Match[str]) -> str:
    return f"{match['before']}{HIDDEN}"


_SECRET_KEY = re.compile(
    r"(?i)token|passw|secret|cookie|credential|crypt|(?:api|access|private)_?key|^keys$|^auth$|database_url|dockerconfig"
)
_NAME_OF_SECRET = re.compile(r"(?i)(?:name|ref|options|^existing\w*)$")
_KEYS = r"(?:token|_xsrf|passw(?:or)?d|secret|(?:api|access|private)_?key|authorization)"
_KEY_HINTS = ("token", "_xsrf", "passw", "secret", "key", "authorization")
_PARAMETERS = r"(?:\w*token|id_token_hint|(?:session_)?code|code_verifier|client_data|\w*state|_xsrf)"
_PARAMETER_HINTS = ("token=", "hint=", "code=", "verifier=", "client_data=", "state=", "_xsrf=")
_OPTION = r"--[\w-]*(?:token|passw(?:or)?d|secret)"
_VARIABLE = r"\w*(?:token|password|secret|database_url|_key)"
_ACROSS_LINES = tuple(
    re.compile(pattern)
    for pattern in (
        # A variable of a pod, in YAML and in JSON: kubespawner gives each server its token so.
        rf"(?i)(?P<before>name: {_VARIABLE}\s+value: )(?!\[redacted)\S[^\r\n]*",
        rf"(?i)(?P<before>\"name\": ?\"{_VARIABLE}\",\s*\"value\": ?\")[^\"\[]+",
        # An option of a pod's command, and what follows it in the list.
        rf"(?i)(?P<before>- {_OPTION}\s*\n\s*- )(?![-\[])\S[^\r\n]*",
        rf"(?i)(?P<before>\"{_OPTION}\",\s*\")(?![-\[])[^\"]+",
    )
)
_IN_A_LINE = tuple(
    (hints, re.compile(pattern))
    for hints, pattern in (
        # The parameters of a URL, and those of a URL that is itself a parameter.
        (_PARAMETER_HINTS, rf"(?i)(?P<before>[?&;]{_PARAMETERS}=)[^\s\"'&;<>\\\[]+"),
        (("3d",), rf"(?i)(?P<before>%(?:25)*(?:3F|26){_PARAMETERS}%(?:25)*3D)(?:(?!%(?:25)*26)[^\s\"'&;<>\\\[])+"),
        # The password of a URL.
        (("://",), r"(?P<before>\b\w+://[^\s:/@\"']*:)[^\s/@\"'\[]+(?=@)"),
        # An option of a command, in a line or in a list.
        (("--",), rf"(?i)(?P<before>(?<![\w-]){_OPTION}(?:[\"'],\s*[\"']|[ =][\"']?))(?![-\[])[^\s\"',]+"),
        # A key and its value, in a log, in JSON, in YAML, in Python: quoted, and to the next sign that ends a word.
        (
            _KEY_HINTS,
            rf"(?i)(?P<before>{_KEYS}\\*[\"']?[ ]?[=:][ \t]*(?P<quote>\\*[\"'])(?:basic |token |bearer )?)"
            r"(?!\[redacted)(?:(?!(?P=quote))[^\r\n])+",
        ),
        (
            _KEY_HINTS,
            rf"(?i)(?P<before>{_KEYS}\\*[\"']?[ ]?[=:][ \t]*\\*[\"']?(?:basic |token |bearer )?)"
            r"(?!\[redacted)[^\s\"'&;,<>)}\]\\]{8,}",
        ),
        (("auth",), r"(?P<before>\"auth\":\s*\")[^\"\[]+"),
        (("basic ",), r"(?i)(?P<before>\bbasic )(?=[a-z+/]*[\d=])[\w+/]{8,}=*"),
        # A header, as a debug log shows it: quoted or to the end of its line.
        (("cookie",), r"(?i)(?P<before>\bcookie\\*[\"']?:\s*\")(?:[^\"\\\r\n]|\\.)+"),
        (("cookie",), r"(?i)(?P<before>\bcookie\\*[\"']?:\s*')[^'\r\n]+"),
        (("cookie",), r"(?i)(?P<before>\bcookie[\"']?:\s*)(?!\[redacted)[^\"'\s][^\r\n]*"),
        # The hub's cookies by name, and everything that tornado signs.
        (("jupyterhub-",), r"(?P<before>\bjupyterhub-(?:session-id|hub-login|user-[\w%.-]+)=\\*[\"']?)[^\s;,\"'\\\[]+"),
        # The gate's cookies by name, and what it keeps while a person logs in.
        (
            ("_session", "mod_auth_openidc_state"),
            r"(?P<before>\b(?:\w+_apisix_session|mod_auth_openidc_state)\w*=\\*[\"']?)[^\s;,\"'\\\[]+",
        ),
        (("2|1:",), r"(?P<before>)\b2\|1:\d+\|\d+:[^\s\"';,&]+"),
        # A field of a page's form.
        (("_xsrf",), r"(?P<before>\bname=[\"']_xsrf[\"'][^>]*?\bvalue=[\"'])[^\"'\[]+"),
        (("_xsrf",), r"(?P<before>\bvalue=[\"'])[^\"'\[]+(?=[\"'][^>]*?\bname=[\"']_xsrf[\"'])"),
        # A signed token, such as of a service account.
        (("eyj",), r"(?P<before>)\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"),
    )
)
