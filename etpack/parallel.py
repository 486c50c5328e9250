"""Work on several threads whose results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(
    work: Callable[[_T], _R], items: Iterable[_T], jobs: int, *, ahead: Callable[[_T], int] | None = None
) -> Iterator[_R]:
    """Yield what `work` makes of each item, in the order of the items.

    Items are taken as they are needed. If `work` or the caller fails, what has not begun is not begun.

    Args:
        work: Called on several threads at once.
        items: What there is to do.
        jobs: Threads; with 1 all is done on the caller's.
        ahead: Given the item begun last, how many may be begun and not yet yielded; two for each thread by default.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    pending: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="etpack-work") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > (ahead(item) if ahead else 2 * jobs):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
