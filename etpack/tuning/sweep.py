"""Tries options on a model, ranks them, and measures the best of them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from etpack import layout
from etpack.codecs import Effort
from etpack.errors import LimitError, naming
from etpack.limits import Limits
from etpack.memory.sequence import load_sequence
from etpack.output import Progress
from etpack.pte import ModelFile, Range, read_model
from etpack.reader import available_processors, check_jobs
from etpack.sources import Source, SourceLike, open_source, steady
from etpack.tuning.blocks import Decoding
from etpack.tuning.cost import packed_cost, plain_cost
from etpack.tuning.device import Device
from etpack.tuning.measure import Measured, measure_sample, measure_whole
from etpack.tuning.report import LEAST_GAIN, Goal, SampleReport, Trial, TuneReport
from etpack.tuning.sample import choose_pieces
from etpack.writer import Options, Outline, extent_entries, outline

# Bytes of content that each trial encodes; all of a model that has no more.
SAMPLE_SIZE = 16 << 20

# So many of the best are measured again on the whole model: more of a small one, up to so many bytes in all.
_FEWEST_FINALISTS, _MOST_FINALISTS = 3, 12
_FINAL_SIZE = 512 << 20
# What is within this part of the best is as good.
TIE = 0.01
# Bytes of a piece of a sample; of blocks that are larger, each that a piece lies in is packed whole.
_PIECE_SIZE = 1 << 20
# A model that makes more requests is not one that anybody loads.
_MOST_LOADS = 1 << 17


def tune(
    source: SourceLike,
    device: Device,
    *,
    goal: Goal | str = Goal.LOAD,
    block_sizes: Sequence[int] = layout.BLOCK_SIZES,
    efforts: Sequence[Effort] = (Effort.DEFAULT,),
    sample_size: int | None = SAMPLE_SIZE,
    jobs: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> TuneReport:
    """Return which options suit a model on a device best, after trying them on it; writes no file.

    Args:
        source: A `.pte`, `.ptd` or `.bpte`: a path, a URL, a buffer, a seekable binary file object, or a `Source`.
        device: What will load it.
        goal: "load" for the quickest load, "size" for the smallest file; of all within 1 % of the best, the better in
            the other. What saves less than `LEAST_GAIN` of both is not recommended.
        block_sizes: In bytes; those that are tried.
        efforts: Those that are tried.
        sample_size: Bytes of content that each trial encodes; of a larger model a sample, and the best 3 to 12 are
            then measured on the whole. None for all of it.
        jobs: Threads; all processors by default. The result does not depend on it.
        limits: How much may be downloaded.
        progress: Called with the bytes encoded and about how many there will be.

    Raises:
        LimitError: No options fit into the device's RAM, or the model makes too many requests.
        PteError: The source is no model that can be read.
        SourceError: The source changed or ended early.
        ValueError: A block size, or the goal, cannot be; or there is nothing to try.
        OSError: Reading failed.
    """
    check_jobs(jobs)
    if not block_sizes or not efforts:
        raise ValueError("there must be a block size and an effort to try")
    sizes = [size for size in sorted(set(block_sizes)) if device.scratch_size is None or size <= device.scratch_size]
    left_out = tuple(sorted(set(block_sizes) - set(sizes)))
    opened = open_source(source, limits=limits, whole=True)
    try:
        with naming(opened.name), steady(opened):
            if not sizes:
                raise _nothing_fits(device, min(block_sizes))
            tried = list(_options(device, sizes, efforts))
            return _Sweep(opened, device, Goal(goal), sample_size, jobs, progress).run(tried, left_out)
    finally:
        if opened is not source:
            opened.close()


def _options(device: Device, block_sizes: Sequence[int], efforts: Sequence[Effort]) -> Iterator[Options]:
    """Yield what is tried: a fixed-function engine gets bare streams, and at sectors only.

    Raw blocks alone are not tried: they gain nothing over the plain file, which is what all is compared with.
    """
    alignments = {device.sector_size} if device.fixed_function else {1, device.sector_size}
    for block_size in block_sizes:
        for codec in sorted(device.codecs):
            for effort in efforts:
                for alignment in sorted(alignments):
                    yield Options(block_size, codec, effort, not device.fixed_function, alignment)


class _Sweep:
    """One run over one model."""

    def __init__(
        self,
        source: Source,
        device: Device,
        goal: Goal,
        sample_size: int | None,
        jobs: int | None,
        progress: Progress | None,
    ) -> None:
        self._source = source
        self._device = device
        self._goal = goal
        self._sample_size = sample_size
        self._jobs = jobs or available_processors()
        self._progress = progress
        self._decoding = Decoding(device)
        self._loads: list[Range] = []
        self._outline: tuple[int, Outline] | None = None
        self._done = self._total = self._finalists = 0

    def run(self, tried: Sequence[Options], left_out: tuple[int, ...]) -> TuneReport:
        """Try everything, and return what was found."""
        cut = self._cut(tried[-1].block_size)
        self._loads = _loads(read_model(self._source))
        self._finalists = min(_MOST_FINALISTS, max(_FEWEST_FINALISTS, _FINAL_SIZE // self._source.size))
        pieces: tuple[Range, ...] = ()
        if self._sample_size is not None and self._sample_size < self._source.size:
            pieces = choose_pieces(cut.extents, self._sample_size, _PIECE_SIZE)
        sampled = sum(piece.size for piece in pieces)
        if (len(tried) - self._finalists) * self._source.size <= len(tried) * sampled:
            pieces = ()  # to measure all at once is no more work
        whole_count = min(self._finalists, len(tried)) if pieces else len(tried)
        self._total = len(tried) * sampled + whole_count * self._source.size
        trials = [self._try(options, pieces) for options in tried]
        again = 0
        while (found := self._first_estimated(trials)) is not None:
            again += 1
            self._total = max(self._total, self._done + self._source.size)
            trials[found] = self._try(trials[found].options, ())
        trials = rank(trials, self._goal)
        if not trials[0].fits:
            raise _nothing_fits(self._device, trials[0].options.block_size, trials[0].scratch_size)
        return TuneReport(
            self._source.name,
            cut.kind,
            self._source.size,
            self._device,
            self._goal,
            len(self._loads),
            sum(load.size for load in self._loads),
            plain_cost(self._loads, self._device),
            SampleReport(sampled, len(pieces), again) if pieces else None,
            tuple(trials),
            left_out,
        )

    def _first_estimated(self, trials: Sequence[Trial]) -> int | None:
        """Return the place of the first of the finalists that was not measured on the whole model, or None."""
        for trial in rank(trials, self._goal)[: self._finalists]:
            if trial.fits and not trial.exact:
                return trials.index(trial)
        return None

    def _cut(self, block_size: int) -> Outline:
        """Return how the model is cut at a block size; the last one is kept, for it may be large."""
        if self._outline is None or self._outline[0] != block_size:
            self._outline = block_size, outline(self._source, Options(block_size))
        return self._outline[1]

    def _try(self, options: Options, pieces: Sequence[Range]) -> Trial:
        """Try options on some pieces, or on the whole if there are none."""
        start = self._done

        def report(done: int, total: int) -> None:
            del total
            self._done = start + done
            if self._progress:
                self._progress(self._done, self._total)

        cut = self._cut(options.block_size)
        if pieces:
            measured = measure_sample(self._source, options, cut, pieces, self._decoding, self._jobs, report)
        else:
            entries = extent_entries(cut.extents, options.block_size)
            measured = measure_whole(self._source, options, entries, self._decoding, self._jobs, report)
        return self._judge(options, measured, exact=not pieces)

    def _judge(self, options: Options, measured: Measured, *, exact: bool) -> Trial:
        blocks, device = measured.blocks, self._device
        load = packed_cost(self._loads, blocks, device)
        plain = plain_cost(self._loads, device)
        doubt = 1.0 if exact else 1.02  # what a sample leaves open, the whole decides
        workspace = device.workspace.get(options.codec, 0)
        scratch = workspace + _buffers(measured, options, device.sector_size)
        return Trial(
            options,
            exact,
            measured.stored_size,
            blocks.max_stored_block,
            blocks.max_plane_scratch,
            scratch,
            workspace,
            device.scratch_size is None or scratch <= device.scratch_size,
            _pays(measured.stored_size, self._source.size * doubt) or _pays(load.seconds, plain.seconds * doubt),
            load,
        )


def _pays(packed: float, plain: float) -> bool:
    """Whether bytes or seconds are so much less than those of the plain file that packing is worth it."""
    return packed <= (1 - LEAST_GAIN) * plain


def _buffers(measured: Measured, options: Options, sector: int) -> int:
    """Return the bytes of RAM that reading takes: a stored block in whole sectors, planes, a block and two pages."""
    stored = layout.align_up(measured.blocks.max_stored_block, sector)
    if options.alignment < sector:
        stored += sector  # it may begin at the end of one
    return stored + measured.blocks.max_plane_scratch + options.block_size + 2 * layout.PAGE_SIZE


def rank(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Return trials, the best first; behind them those that do not pay, then what does not fit.

    The best are all within 1 % of what the best comes to in the goal, ordered by the other goal.
    """

    def loading(trial: Trial) -> float:
        return trial.load.seconds

    def size(trial: Trial) -> float:
        return trial.stored_size

    first, second = (loading, size) if goal is Goal.LOAD else (size, loading)
    good = [trial for trial in trials if trial.fits and trial.pays]
    best = min((first(trial) for trial in good), default=0.0)

    def key(trial: Trial) -> tuple[float, ...]:
        needs = trial.scratch_size, trial.options.block_size
        if not trial.fits:
            return 3, *needs
        if trial.pays and first(trial) <= best * (1 + TIE):
            return 0, second(trial), first(trial), *needs
        return 1 if trial.pays else 2, first(trial), second(trial), *needs

    return sorted(trials, key=key)


def _loads(model: ModelFile) -> list[Range]:
    """Return what ExecuTorch asks for, in order.

    Raises:
        LimitError: That is too much.
    """
    loads = [load.range for load in islice(load_sequence(model), _MOST_LOADS + 1) if load.range.size]
    if len(loads) > _MOST_LOADS:
        raise LimitError(f"loading the model makes more than {_MOST_LOADS:,} requests", hint="tune a smaller model")
    return loads


def _nothing_fits(device: Device, block_size: int, needed: int | None = None) -> LimitError:
    least = f"at least {needed:,} bytes with" if needed else "more than a block, and there are"
    return LimitError(
        f"nothing fits into {device.scratch_size:,} bytes of scratch: it takes {least} blocks of {block_size:,}",
        hint="give it more with --scratch, or try smaller blocks",
    )
