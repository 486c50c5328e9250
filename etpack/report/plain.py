"""Frozen values as JSON values, by `schemas/inspect.schema.json`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

from etpack.memory import Action, Event, Footprint, UseGroup


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    """Return what of a dataclass goes into JSON: its fields, then its derived properties."""
    return (*(field.name for field in fields(kind)), *getattr(kind, "_derived", ()))


def plain(value: Any) -> Any:
    """Return frozen values as JSON values: dataclasses by field, enums by value, derived properties included."""
    if isinstance(value, UseGroup):
        return _group(value)
    if isinstance(value, Event):
        return _event(value)
    if isinstance(value, Footprint):
        return {name: getattr(value, name) for name in (*_names(Footprint), "total")}
    if is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in _names(value.__class__)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _group(group: UseGroup) -> dict[str, Any]:
    """Return a group with its words once, and what differs between its uses in a list."""
    return {
        "kind": group.kind.value,
        "place": group.place.value,
        **plain(group.fate),
        "methods": list(group.methods),
        "backends": list(group.backends),
        "size": group.size,
        "after_method_destroyed_size": group.method_frees,
        "uses": [
            {
                "what": use.what,
                "offset": None if use.range is None else use.range.offset,
                "size": use.size,
                "segment": use.segment,
            }
            for use in group.uses
        ],
    }


def _event(event: Event) -> dict[str, Any]:
    """Return an event; a free has the number of the load that it ends, and nothing more of it."""
    load = event.load
    value: dict[str, Any] = {"action": event.action.value, "step": event.step, "live_size": event.live_size}
    if load is None:
        return value
    value["load"] = load.number
    if event.action is Action.FREE:
        return value
    return {
        **value,
        "kind": load.kind.value,
        "what": load.what,
        "file": load.file,
        "offset": None if load.file is None else load.range.offset,
        "size": load.size,
        "segment_type": load.info.type.value,
        "segment_index": load.info.index,
        "holder": load.holder.value,
        "holder_known": load.holder_known,
        "inferred": load.inferred,
    }
