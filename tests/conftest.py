"""Fixtures: the real models that the repository ships, plain and packed."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import etpack
from etpack import kernels
from tests.faults import Faults, faulty_place
from tests.native_tools import leave_out

# The first needs torch and executorch: `make test-export` runs it in an environment of its own. The second takes
# minutes: `make sweep`. The third needs compilers for other machines: `make test-cross`.
collect_ignore = ["export", "sweep", "cross"]

# The same examples each time, so that a run says what the change did; --hypothesis-profile=search looks further.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=150)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent
EXAMPLE_MODELS = sorted((ROOT / "examples" / "models").glob("*.pte"))
REAL_MODELS = EXAMPLE_MODELS + sorted((ROOT / "tests" / "data" / "models").glob("*.*pte"))

if len(EXAMPLE_MODELS) < 3 or len(REAL_MODELS) < 7:
    raise RuntimeError(f"only {len(REAL_MODELS)} model fixtures found; the checkout is not whole")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Take coverage off a test that is marked `unmeasured`: other tests go these ways too, and less often."""
    if pyfuncitem.get_closest_marker("unmeasured") is None:
        return (yield)
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(trace)


@pytest.fixture(scope="session", params=EXAMPLE_MODELS, ids=lambda path: path.stem)
def example_model(request: pytest.FixtureRequest) -> Path:
    """One of the trained models in examples/models."""
    path: Path = request.param
    return path


@pytest.fixture(scope="session", params=REAL_MODELS, ids=lambda path: path.name)
def real_model(request: pytest.FixtureRequest) -> Path:
    """Any real model file in the repository."""
    path: Path = request.param
    return path


@pytest.fixture(scope="session")
def digits() -> Path:
    """The FP32 model with an XNNPACK delegate and named data."""
    return ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte"


@pytest.fixture(scope="session")
def packed_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits`, packed at the defaults; not to be changed."""
    path = tmp_path_factory.mktemp("packed") / "digits.etz"
    etpack.compress(digits, path)
    return path


@pytest.fixture
def native_kernels() -> None:
    """The inner loops in C are there: without a compiler a user's machine leaves out what needs them, CI never."""
    if kernels.native is None:
        leave_out("etpack._kernels was not built; on Debian and Ubuntu: apt-get install gcc python3-dev")


@pytest.fixture(params=["C", "numpy"])
def both_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test runs with the inner loops in C, and again with those in numpy."""
    if request.param == "C":
        request.getfixturevalue("native_kernels")
    else:
        monkeypatch.setattr(kernels, "native", None)


@pytest.fixture(scope="session")
def fault_server(digits: Path, packed_digits: Path) -> Iterator[Faults]:
    """Runs of etpack with faults in them."""
    with faulty_place(digits, packed_digits) as faults:
        yield faults


@pytest.fixture
def faults(fault_server: Faults) -> Faults:
    """The same, in a fresh folder."""
    fault_server.fresh()
    return fault_server
