"""A user's own table of backends: a TOML or JSON file, checked strictly, that adds to the table that ships with etpack.

    [[backends]]
    id = "AcmeNpu"                    # the delegate id, as the program spells it
    verdict = "conditional"           # of the blob: always, on success, conditional, unknown or never
    condition = "the driver is 2.1 or newer"   # of a conditional verdict, and only there
    reason = "The driver copies the blob, and init frees it."
    name = "Acme NPU"                 # optional: what people call it; the id if absent
    evidence = ["acme/backend.cpp:41-60"]      # optional
    version = "acme 2.1"              # optional: of what the evidence was read in

    [backends.named_data]             # optional: absent if the backend asks for no named data
    verdict = "never"
    reason = "Weights are read in place."

Several entries may have one id, as several runtimes may serve it. They replace the shipped ones of that id.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from etpack.errors import BackendsError, naming
from etpack.memory.backends import BACKEND_VERDICTS, Backends, NamedDataHandling, Runtime, Verdict, load_backends
from etpack.settings import read_settings

_VERDICTS = tuple(verdict.value for verdict in BACKEND_VERDICTS)
_ENTRY_KEYS = ("id", "verdict", "condition", "reason", "name", "evidence", "version", "named_data")
_NAMED_KEYS = ("verdict", "reason")


def read_backends(path: str | os.PathLike[str]) -> Backends:
    """Return the table that ships with etpack, with the entries of a user's file in it.

    Args:
        path: A file as `etpack.settings` reads them.

    Raises:
        BackendsError: The file does not say what it must.
        OSError: It cannot be read.
    """
    with naming(os.fspath(path)):
        value = read_settings(path, BackendsError)
        entries = _list(_table(value, "the file", ("backends",)).get("backends"), "backends")
        runtimes = [_runtime(entry, f"backends[{number}]") for number, entry in enumerate(entries)]
    return load_backends().replaced_by(runtimes)


def _runtime(value: object, place: str) -> Runtime:
    entry = _table(value, place, _ENTRY_KEYS)
    verdict = _verdict(entry, place)
    if (verdict is Verdict.CONDITIONAL) != ("condition" in entry):
        must = "needs a condition" if verdict is Verdict.CONDITIONAL else "takes no condition"
        hint = "add `condition`, or remove it, by the verdict"
        raise BackendsError(f"{place}: the verdict {verdict.value!r} {must}", hint=hint)
    backend_id = _text(entry, "id", place)
    evidence = _list(entry.get("evidence", []), f"{place}.evidence")
    return Runtime(
        id=backend_id,
        name=_text(entry, "name", place) if "name" in entry else backend_id,
        verdict=verdict,
        condition=_text(entry, "condition", place) if "condition" in entry else None,
        reason=_text(entry, "reason", place),
        named_data=_named_data(entry["named_data"], f"{place}.named_data") if "named_data" in entry else None,
        evidence=tuple(_is_text(each, f"{place}.evidence[{number}]") for number, each in enumerate(evidence)),
        executorch=_text(entry, "version", place) if "version" in entry else "",
        shipped=False,
    )


def _named_data(value: object, place: str) -> NamedDataHandling:
    entry = _table(value, place, _NAMED_KEYS)
    return NamedDataHandling(_verdict(entry, place), _text(entry, "reason", place))


def _table(value: object, place: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BackendsError(f"{place} must be a table of keys", hint=f"its keys are {', '.join(keys)}")
    for key in value:
        if key not in keys:
            close = get_close_matches(key, keys, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"the keys are {', '.join(keys)}"
            raise BackendsError(f"{place} has an unknown key {_shown(key)}", hint=hint)
    return value


def _list(value: object, place: str) -> list[object]:
    if not isinstance(value, list):
        missing = value is None
        hint = "begin each entry with [[backends]]" if place == "backends" else "write a list"
        raise BackendsError(f"{place} is missing" if missing else f"{place} must be a list", hint=hint)
    return value


def _text(entry: Mapping[str, Any], key: str, place: str) -> str:
    if key not in entry:
        raise BackendsError(f"{place} has no {key!r}", hint=f'add {key} = "..."')
    return _is_text(entry[key], f"{place}.{key}")


def _is_text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BackendsError(f"{place} must be text, not {_shown(value)}", hint="write it in quotes, and not empty")
    return value


def _verdict(entry: Mapping[str, Any], place: str) -> Verdict:
    text = _text(entry, "verdict", place)
    if text not in _VERDICTS:
        hint = f"choose from {', '.join(_VERDICTS)}"
        raise BackendsError(f"{place}.verdict: there is no verdict {_shown(text)}", hint=hint)
    return Verdict(text)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
