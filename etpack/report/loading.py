"""What a model is loaded with, and what to say of loading it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from etpack.errors import LimitError, PteError, naming
from etpack.limits import Limits
from etpack.memory import Backends, Loader, Speeds, Storage, Verdict, find_uses, group_uses, load_backends, simulate
from etpack.pte import FileKind, ModelFile, read_blobs, read_model
from etpack.reader import EtzFile, is_etz
from etpack.report.values import MemoryReport, Report, VerdictTotal
from etpack.sources import Source, SourceLike, open_source


@dataclass(frozen=True)
class LoadSetup:
    """What a model is loaded with; nothing that is said of the file itself depends on it."""

    # What is known of backends; the table that ships with etpack if None.
    backends: Backends | None = None
    # The .ptd files in which the program's tensors and delegates look for weights, in order.
    data_files: tuple[ModelFile, ...] = ()
    # To say how long loads take.
    speeds: Speeds | None = None


@dataclass(frozen=True)
class Loading:
    """What to say of loading: with what, and whether in detail."""

    setup: LoadSetup
    details: bool


def read_data_file(source: SourceLike, *, limits: Limits | None = None) -> ModelFile:
    """Return a parsed .ptd, packed or not, for `LoadSetup.data_files`.

    Raises:
        FormatError, UnsupportedError, PteError: It is damaged, or no .ptd.
        OSError: It cannot be read.
    """
    opened = open_source(source, limits=limits)
    try:
        with naming(opened.name):
            if is_etz(opened):
                with EtzFile(opened, limits=limits) as file:
                    model = file.model
            else:
                model = read_model(opened)
            if model.kind is not FileKind.PTD:
                hint = "name the .ptd that was exported with the model"
                raise PteError(f"it is a .{model.kind.value}, not a .ptd", rule="identifier", hint=hint)
            return model
    finally:
        if opened is not source:
            opened.close()


def with_loaders(report: Report, loaders: Collection[Loader]) -> Report:
    """Return a report that tells of these loaders only.

    A bundled program keeps the one loader that it can be run from.
    """
    memory = report.memory
    if memory is None or memory.simulation is None:
        return report
    chosen = tuple(each for each in memory.simulation.loaders if each.loader in loaders)
    simulation = replace(memory.simulation, loaders=chosen or memory.simulation.loaders)
    return replace(report, memory=replace(memory, simulation=simulation))


def describe_loading(source: Source, model: ModelFile, storage: Storage, loading: Loading) -> MemoryReport:
    """Return what of a model comes back after loading, and what loading takes; `source` is its content."""
    setup = loading.setup
    backends = setup.backends or load_backends()
    blobs = read_blobs(source, model)
    uses = find_uses(model, backends, blobs)
    totals = []
    counted = [use for use in uses if not use.inside_program]
    for verdict in Verdict:
        members = [use for use in counted if use.fate.verdict is verdict]
        if members:
            totals.append(VerdictTotal(verdict, len(members), sum(use.size for use in members)))
    simulation = unsimulated = None
    try:
        simulation = simulate(
            model,
            storage,
            blobs=blobs,
            backends=backends,
            data_files=setup.data_files,
            speeds=setup.speeds,
            details=loading.details,
        )
    except LimitError as exc:
        unsimulated = str(exc)
    return MemoryReport(backends.versions, tuple(totals), group_uses(uses), simulation, unsimulated)
