"""Why `etpack tune` recommends what it does, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from etpack.describe.words import both, duration, human, plural
from etpack.layout import BLOCK_SIZES, PAGE_SIZE
from etpack.limits import written
from etpack.tuning import TIE, Device, Goal, Trial, TuneReport, option_words


def named(trial: Trial) -> str:
    """Return a trial's options as they are written on the command line."""
    return " ".join(option_words(trial.options))


def device_lines(device: Device) -> Iterator[tuple[str, str]]:
    """Yield what is said of a device: a label, and a value with its unit."""
    requests = f", {device.request_us:g} us before each request" if device.request_us else ""
    sectors = f", sectors of {human(device.sector_size)}" if device.sector_size > 1 else ""
    yield "storage", f"{device.storage_mb_s:g} MB/s{requests}{sectors}"
    speeds = ", ".join(f"{name} {speed:g}" for name, speed in device.decode_mb_s.items())
    yield "decoding", f"{speeds} MB/s of content" + (", bare streams only" if device.fixed_function else "")
    yield "scratch", both(device.scratch_size) if device.scratch_size else "as much as it takes"
    if device.workspace:
        yield "workspace", ", ".join(f"{name} {human(size)}" for name, size in device.workspace.items())


def sample_line(report: TuneReport) -> str:
    """Return what was measured, and how."""
    sample = report.sample
    if sample is None:
        return f"All of the model was packed with each of {plural(len(report.trials), 'set')} of options."
    pieces = plural(sample.piece_count, "piece")
    again = plural(sample.remeasured_count, "set")
    return (
        f"Each of {plural(len(report.trials), 'set')} of options packed a sample: {human(sample.size)} of the "
        f"{human(report.content_size)}, in {pieces} spread over all roles and extents. {again} of options that did "
        "best there then packed all of the model; what is best among those is recommended."
    )


def model_line(report: TuneReport) -> str:
    """Return what the seconds stand for."""
    return (
        "Sizes are measured; seconds follow from them and from the numbers given for the device, for the "
        f"{plural(report.load_count, 'load')} that ExecuTorch makes of this model, all methods included. One thread "
        "reads a block with a request of its own, decodes it and goes on to the next, so reading and decoding add up; "
        "the block last wanted in part, and the last page of index and extent table, are kept."
    )


def reasons(report: TuneReport) -> list[str]:
    """Return why the best is the best, or none is good enough, in the order of weight."""
    if not report.pays:
        return [report.reason, *_too_little(report), *_unfit(report)]
    return [
        *_load(report),
        *_size(report),
        *_ties(report),
        *_other_codecs(report),
        *_neighbours(report),
        *_memory(report),
        *_unfit(report),
    ]


def _too_little(report: TuneReport) -> Iterator[str]:
    """Yield what comes nearest to paying in either way."""
    fitting = [trial for trial in report.trials if trial.fits]
    quickest = min(fitting, key=lambda trial: trial.load.seconds)
    smallest = min(fitting, key=lambda trial: trial.stored_size)
    load, plain = quickest.load.seconds, report.plain.seconds
    yield (
        f"The plain file loads in {duration(plain)}. {named(quickest)} loads quickest: in {duration(load)}, "
        f"{_more(load, plain)}."
    )
    yield (
        f"{named(smallest)} makes the smallest file: {human(smallest.stored_size)} of {human(report.content_size)}, "
        f"{_more(smallest.stored_size, report.content_size)}."
    )


def _load(report: TuneReport) -> Iterator[str]:
    load, plain = report.best.load, report.plain
    yield (
        f"It loads in {duration(load.seconds)}: {duration(load.read_seconds)} to read {human(load.read_size)} in "
        f"{plural(load.request_count, 'request')}, {duration(load.decode_seconds)} to decode "
        f"{human(load.decoded_size)}."
    )
    if load.seconds < plain.seconds:
        yield f"The plain file loads in {duration(plain.seconds)}, {_more(plain.seconds, load.seconds)}."
    else:
        yield (
            f"The plain file loads in {duration(plain.seconds)}, which is no slower: on this device packing saves "
            "storage, and no time."
        )


def _size(report: TuneReport) -> Iterator[str]:
    stored = report.best.stored_size
    saved = 1 - stored / report.content_size
    yield f"It stores {human(stored)} of {human(report.content_size)}" + (f", {saved:.1%} less." if saved > 0 else ".")


def _ties(report: TuneReport) -> Iterator[str]:
    by_load = report.goal is Goal.LOAD
    value: Callable[[Trial], float] = (lambda t: t.load.seconds) if by_load else (lambda t: t.stored_size)
    fitting = [trial for trial in report.trials if trial.fits and trial.pays]
    least = min(fitting, key=value)
    near = [trial for trial in fitting if value(trial) <= value(least) * (1 + TIE)]
    if least is report.best or len(near) < 2:
        return
    if by_load:
        what, shown, best = "loads quickest", duration(least.load.seconds), "makes the smallest file"
    else:
        what, shown, best = "makes the smallest file", human(least.stored_size), "loads quickest"
    yield (
        f"{named(least)} {what} ({shown}); {plural(len(near), 'set')} of options are within {TIE:.0%} of that, and "
        f"this one {best} of them."
    )


def _other_codecs(report: TuneReport) -> Iterator[str]:
    best = report.best
    seen = {best.options.codec}
    for trial in report.trials:
        if trial.options.codec not in seen and trial.fits:
            seen.add(trial.options.codec)
            yield f"The best with {trial.options.codec} is {named(trial)}: {_beside(trial, best)}."


def _neighbours(report: TuneReport) -> Iterator[str]:
    """Yield what happens when one option is changed."""
    best, options = report.best, report.best.options
    by_options = {trial.options: trial for trial in report.trials}
    for size in (options.block_size // 2, options.block_size * 2):
        other = by_options.get(replace(options, block_size=size)) if size in BLOCK_SIZES else None
        if other and other.fits:
            yield f"Blocks of {human(size)}: {_beside(other, best)}."
        elif other:
            yield f"Blocks of {human(size)} need {human(other.scratch_size)} of scratch, which is more than there is."
        elif size in report.left_out:
            yield f"Blocks of {human(size)} and more do not fit into the scratch by themselves."
    sector = report.device.sector_size
    turned = by_options.get(replace(options, alignment=sector if options.alignment == 1 else 1))
    if turned and turned is not best:
        how = f"With --align {written(sector)}" if options.alignment == 1 else "Without --align"
        yield f"{how}: {_beside(turned, best)}" + ("." if turned.fits else ", and does not fit.")
    for trial in report.trials:
        if replace(trial.options, effort=options.effort) == options and trial is not best and trial.fits:
            yield f"With --effort {trial.options.effort.value}: {_beside(trial, best)}."


def _memory(report: TuneReport) -> Iterator[str]:
    best, device = report.best, report.device
    buffers = best.scratch_size - best.workspace_size - best.options.block_size - best.max_plane_scratch
    workspace = f", {human(best.workspace_size)} for the decoder" if best.workspace_size else ""
    yield (
        f"Decoding takes {both(best.scratch_size)} of scratch: {human(best.options.block_size)} for a block, "
        f"{human(best.max_plane_scratch)} for planes, {human(buffers)} for a stored block and two pages of "
        f"{PAGE_SIZE:,} bytes{workspace}"
        + (f"; there are {human(device.scratch_size)}." if device.scratch_size else ".")
    )
    if not best.workspace_size:
        yield f"What RAM the decoder of {best.options.codec} takes for itself is not said, and counts as none."


def _unfit(report: TuneReport) -> Iterator[str]:
    too_large = sum(not trial.fits for trial in report.trials)
    if too_large:
        yield f"{plural(too_large, 'set')} of options of {len(report.trials)} do not fit into the scratch."


def _beside(trial: Trial, best: Trial) -> str:
    """Return how a trial differs from the best in both goals."""
    load = f"loads in {duration(trial.load.seconds)}, {_more(trial.load.seconds, best.load.seconds)}"
    return f"{load}; stores {human(trial.stored_size)}, {_more(trial.stored_size, best.stored_size)}"


def _more(value: float, reference: float) -> str:
    """Return by how much a value is above or below another."""
    change = value / reference - 1
    if abs(change) < 0.0005:
        return "the same"
    return f"{abs(change):.1%} {'more' if change > 0 else 'less'}"
