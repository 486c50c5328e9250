"""`etpack extract`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from etpack import pick
from etpack.cli import common
from etpack.describe.words import plural, safe
from etpack.errors import naming
from etpack.files import SUFFIX
from etpack.limits import Limits
from etpack.loader import DataLoader
from etpack.output import Output, refuse_input
from etpack.pte import Range, read_model
from etpack.reader import EtzFile, is_etz
from etpack.sources import Source, open_source, steady
from etpack.sources.urls import local_path
from etpack.unpack import copy_range


@dataclass(frozen=True)
class _Choice:
    """What to extract: how it is called on the command line, and how to find it."""

    option: str
    value: str
    # Where it lies in a content.
    find: Callable[[Source], Range]

    @property
    def label(self) -> str:
        """What the default name of the output says, in characters that any file system takes."""
        label = f"{self.option}{self.value}" if self.value.isdecimal() else f"{self.option}-{self.value}"
        return re.sub(r"[^0-9A-Za-z._+-]+", "-", label)[:80].rstrip("-.")


def _to_range(_context: click.Context, _parameter: click.Parameter, text: str | None) -> _Choice | None:
    if text is None:
        return None
    start, colon, length = text.partition(":")
    if not colon:
        raise click.BadParameter(f"{text!r} is no range; write OFFSET:SIZE, for instance 0x1000:64K")
    offset, size = common.parse_size(start), common.parse_size(length)
    return _Choice("range", text, lambda c: pick.pick_range(c.size, offset, size))


@click.command()
@click.argument("file", metavar="FILE", type=common.INPUT)
@click.option("--segment", type=click.IntRange(0), metavar="N", help="A segment, by number.")
@click.option("--delegate", metavar="ID[:N]|METHOD:N", help="A delegate's data, as its backend gets it.")
@click.option("--key", metavar="NAME", help="Named data, by key.")
@click.option("--tensor", metavar="NAME|#N", help="A tensor's bytes, by fully qualified name or number.")
@click.option(
    "--range",
    "place",
    metavar="OFFSET:SIZE",
    callback=_to_range,
    help="Any bytes of the content; 0x1000:64K for instance.",
)
@common.output_options
@common.limit_option
@common.jobs_option
@common.quiet_option
@common.json_option
def extract(
    file: str,
    segment: int | None,
    delegate: str | None,
    key: str | None,
    tensor: str | None,
    place: _Choice | None,
    output: str | None,
    force: bool,
    limits: Limits,
    jobs: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write a part of a model, packed or plain, to a file of its own; only the blocks that it lies in are decoded.

    Without -o the output is called after FILE and the part, for instance model.segment3.bin, in the folder of FILE,
    or in the current one if FILE is a URL.
    """
    choice = _choose(segment, delegate, key, tensor, place)
    target = output or str(_default_path(local_path(file), choice))
    refuse_input(target, file)
    with (
        closing(open_source(file, limits=limits)) as source,
        closing(_content(source, limits, jobs)) as content,
        DataLoader(content) as loader,
    ):
        with steady(source):
            found = _find(content, choice)
        sha256 = _write(source, loader, found, target, force, jobs)
        file = source.name
    result = {
        "file": file,
        "output": target,
        "part": choice.option,
        "name": choice.value,
        "content_offset": found.offset,
        "size": found.size,
        "sha256": sha256,
    }
    if as_json:
        common.echo_json({"results": [result]}, err=target == common.STDOUT)
    elif not quiet:
        size = plural(found.size, "byte")
        message = f"{safe(file)}: {choice.option} {safe(choice.value)} -> {safe(target)}: {size} from {found.offset:#x}"
        click.echo(message, err=target == common.STDOUT)


def _choose(
    segment: int | None, delegate: str | None, key: str | None, tensor: str | None, place: _Choice | None
) -> _Choice:
    choices = []
    if segment is not None:
        choices.append(_Choice("segment", str(segment), lambda c: pick.pick_segment(read_model(c), segment)))
    if delegate is not None:
        choices.append(_Choice("delegate", delegate, lambda c: pick.pick_delegate(read_model(c), delegate)))
    if key is not None:
        choices.append(_Choice("key", key, lambda c: pick.pick_key(read_model(c), key)))
    if tensor is not None:
        choices.append(_Choice("tensor", tensor, lambda c: pick.pick_tensor(read_model(c), tensor)))
    if place is not None:
        choices.append(place)
    if len(choices) != 1:
        raise click.UsageError("give exactly one of --segment, --delegate, --key, --tensor and --range")
    return choices[0]


def _default_path(file: Path, choice: _Choice) -> Path:
    stem = file.with_suffix("").name if file.suffix in (SUFFIX, ".pte", ".ptd", ".bpte") else file.name
    return file.with_name(f"{stem}.{choice.label}.bin")


def _content(source: Source, limits: Limits, jobs: int | None) -> Source:
    """Return the content of a file: of the `.etz` if it is one, else the file itself."""
    with steady(source):
        return EtzFile(source, limits=limits, jobs=jobs) if is_etz(source) else source


def _find(content: Source, choice: _Choice) -> Range:
    with naming(content.name):
        return choice.find(content)


def _write(source: Source, loader: DataLoader, place: Range, target: str, force: bool, jobs: int | None) -> str:
    """Write the range and return its SHA-256 in hexadecimal."""
    with common.open_output(target, force=force, size=place.size) as output, steady(source):
        out = _Hashing(output)
        copy_range(loader, place.offset, place.size, out, jobs=jobs)
    return out.sha256.hexdigest()


class _Hashing:
    """An output that hashes what it passes on."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.sha256.update(data)
        self._output.write(data)
