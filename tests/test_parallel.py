"""Work on several threads whose results come in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from etpack.parallel import in_order


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    assert list(in_order(str, range(100), jobs)) == [str(number) for number in range(100)]
    assert list(in_order(str, (), jobs)) == []


@pytest.mark.parametrize("ahead", [None, 0, 3])
def test_no_more_is_taken_than_may_be_ahead(ahead: int | None) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    most = 4 if ahead is None else ahead
    for result in in_order(lambda number: number, items(), 2, ahead=None if ahead is None else lambda _: most):
        assert taken <= result + most + 1
    assert taken == 50


def test_after_a_failure_nothing_more_begins() -> None:
    begun: list[int] = []
    hold = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            raise ValueError("no")
        hold.wait(0.2)
        return number

    with pytest.raises(ValueError, match="no"):
        list(in_order(work, range(1000), 2))
    assert len(begun) < 10
