"""A part of a model by its name: segment, delegate, key, tensor or range -> where it lies in the content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etpack.errors import EtpackError
from etpack.pte import Delegate, ModelFile, Range

# Names that an error lists.
_MOST_LISTED = 12
_LONGEST_NAME = 24


class PickError(EtpackError):
    """The model has no such part, or several that the name fits; the hint lists what there is."""

    slug = "no-such-part"
    exit_code = 2


def pick_segment(model: ModelFile, number: int) -> Range:
    """Return where segment `number` lies.

    Raises:
        PickError: There is no such segment.
    """
    if not 0 <= number < len(model.segments):
        if not model.segments:
            raise PickError("the model has no segments", hint=_see_all("delegate, tensor or range"))
        raise PickError(f"there is no segment {number}", hint=f"choose from 0 to {len(model.segments) - 1}")
    return model.segments[number].range


def pick_delegate(model: ModelFile, name: str) -> Range:
    """Return where the data of a delegate lies.

    Args:
        model: The parsed model.
        name: A backend's id (`XnnpackBackend`), if all its delegates have the same data; an id and the position
            among that backend's different data, in the order of methods and delegates (`XnnpackBackend:1`); or a
            method and the position in its delegate list (`forward:0`).

    Raises:
        PickError: Nothing has that name, or different data has.
    """
    delegates = [(method.name, delegate) for method in model.methods for delegate in method.delegates]
    if not delegates:
        raise PickError("the model has no delegates", hint=_see_all("segment, tensor or range"))
    known = _delegate_names(delegates)
    head, colon, tail = name.rpartition(":")
    number = int(tail) if colon and tail.isdecimal() and len(tail) < 10 else None
    if number is not None:
        for method, delegate in delegates:
            if method == head and delegate.number == number:
                return delegate.blob
    found = _distinct(delegate.blob for _, delegate in delegates if delegate.id == (name if number is None else head))
    if number is None and len(found) == 1:
        return found[0]
    if number is not None and number < len(found):
        return found[number]
    if number is None and found:
        raise PickError(f"{len(found)} delegates of {_shown(name)} have different data", hint=_choices(known))
    raise PickError(f"there is no delegate {_shown(name)}", hint=_choices(known))


def _delegate_names(delegates: Sequence[tuple[str, Delegate]]) -> list[str]:
    return [f"{method}:{delegate.number} ({delegate.id})" for method, delegate in delegates]


def pick_key(model: ModelFile, key: str) -> Range:
    """Return where the data of a named-data key lies; its beginning will do if only one key begins so.

    Raises:
        PickError: There is no such key, or several begin so.
    """
    exact = [named for named in model.named_data if named.key == key]
    found = exact or [named for named in model.named_data if key and named.key.startswith(key)]
    if len({named.segment for named in found}) == 1:
        return model.segments[found[0].segment].range
    if found:
        raise PickError(f"{len(found)} keys begin with {_shown(key)}", hint=_choices([named.key for named in found]))
    if not model.named_data:
        raise PickError("the model has no named data", hint=_see_all("segment, tensor or range"))
    raise PickError(f"there is no key {_shown(key)}", hint=_choices([named.key for named in model.named_data]))


def pick_tensor(model: ModelFile, name: str) -> Range:
    """Return where the bytes of a tensor lie, without padding.

    Args:
        model: The parsed model.
        name: The fully qualified name, if the program records one; or `#` and the position among the tensors
            (`#0`), as `etpack inspect` lists them.

    Raises:
        PickError: There is no such tensor, its name fits several with different bytes, or its bytes lie in a `.ptd`.
    """
    names = [tensor.name or f"#{number}" for number, tensor in enumerate(model.tensors)]
    if not names:
        raise PickError("the model has no tensors of its own", hint=_see_all("segment, delegate or range"))
    if name.startswith("#") and name[1:].isdecimal() and len(name) < 10:
        found = list(model.tensors[int(name[1:]) : int(name[1:]) + 1])
    else:
        found = [tensor for tensor in model.tensors if tensor.name == name]
    if not found:
        raise PickError(f"there is no tensor {_shown(name)}", hint=_choices(names))
    places = _distinct(tensor.data for tensor in found if tensor.data is not None)
    if not places:
        raise PickError(f"the bytes of tensor {_shown(name)} are not in this file", hint="take them from its .ptd")
    if len(places) > 1:
        numbers = [f"#{number}" for number, tensor in enumerate(model.tensors) if tensor.name == name]
        raise PickError(f"{len(places)} tensors are called {_shown(name)}", hint=_choices(numbers))
    return places[0]


def pick_range(size: int, offset: int, count: int) -> Range:
    """Return the range of `count` bytes from content offset `offset` in a content of `size` bytes.

    Raises:
        PickError: It leaves the content.
    """
    if offset < 0 or count < 0 or offset + count > size:
        raise PickError(
            f"the range {offset:#x}+{count:#x} leaves the content", hint=f"the content has {size:,} bytes ({size:#x})"
        )
    return Range(offset, count)


def _distinct(places: Iterable[Range]) -> list[Range]:
    return list(dict.fromkeys(places))


def _choices(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _MOST_LISTED:,} more" if len(names) > _MOST_LISTED else ""
    return "choose from " + ", ".join(_shown(name) for name in names[:_MOST_LISTED]) + more


def _shown(name: str) -> str:
    """Return a name, which may come from a file, without control characters and cut to a length."""
    name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."
    return "".join(char if char.isprintable() else "?" for char in name)


def _see_all(what: str) -> str:
    return f"choose a {what}; etpack inspect shows what there is"
