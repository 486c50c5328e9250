"""`etpack extract` and `etpack.pick`: the right bytes under every name, the same from packed and plain files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from etpack import Options, compress
from etpack.cli import cli
from etpack.pick import PickError, pick_delegate, pick_key, pick_range, pick_segment, pick_tensor
from etpack.pte import ModelFile, Range, read_model
from etpack.sources import open_source
from tests.make_pte import DelegateSpec, MethodSpec, NamedSpec, PtdSpec, PteSpec, TensorSpec, build_ptd, build_pte

DELEGATES = (
    MethodSpec(
        "forward", delegates=[DelegateSpec("A", b"first"), DelegateSpec("B", b"second"), DelegateSpec("A", b"third")]
    ),
    MethodSpec("encode", delegates=[DelegateSpec("B", b"second"), DelegateSpec("C", b"inline", inline=True)]),
)


def model_of(data: bytes) -> ModelFile:
    return read_model(open_source(data))


def cut(data: bytes, place: Range) -> bytes:
    return data[place.offset : place.end]


# The library.


def test_segments_by_number(real_model: Path) -> None:
    model = read_model(open_source(real_model))
    for segment in model.segments:
        assert pick_segment(model, segment.number) == segment.range
    for number in (-1, len(model.segments)):
        with pytest.raises(PickError, match="segment"):
            pick_segment(model, number)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A:0", b"first"),
        ("A:1", b"third"),
        ("B", b"second"),
        ("B:0", b"second"),
        ("C", b"inline"),
        ("forward:1", b"second"),
        ("forward:2", b"third"),
        ("encode:1", b"inline"),
    ],
)
def test_delegates_by_id_and_by_method(name: str, expected: bytes) -> None:
    data = build_pte(PteSpec(DELEGATES))
    assert cut(data, pick_delegate(model_of(data), name)) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("A", "2 delegates of A have different data"),
        ("A:2", "there is no delegate A:2"),
        ("D", "there is no delegate D"),
        ("forward:3", "there is no delegate forward:3"),
        ("decode:0", "there is no delegate decode:0"),
        ("forward", "there is no delegate forward"),
    ],
)
def test_delegates_that_are_not_there_or_not_one(name: str, message: str) -> None:
    with pytest.raises(PickError) as caught:
        pick_delegate(model_of(build_pte(PteSpec(DELEGATES))), name)
    assert str(caught.value) == message
    choices = "forward:0 (A), forward:1 (B), forward:2 (A), encode:0 (B), encode:1 (C)"
    assert caught.value.hint == f"choose from {choices}"
    assert caught.value.exit_code == 2


def test_keys() -> None:
    named = [NamedSpec("left", b"one"), NamedSpec("right", b"two"), NamedSpec("also left", b"one")]
    for data in (build_pte(PteSpec(named_data=named)), build_ptd(PtdSpec(named))):
        model = model_of(data)
        assert [cut(data, pick_key(model, spec.key or "")) for spec in named] == [b"one", b"two", b"one"]
        with pytest.raises(PickError, match="no key middle") as caught:
            pick_key(model, "middle")
        assert caught.value.hint == "choose from left, right, also left"


def test_tensors_by_name_and_number() -> None:
    tensors = [
        TensorSpec(b"weights!", name="layer.weight"),
        TensorSpec(b"bias", name="layer.bias"),
        TensorSpec(b"other weights!!!", name="layer.bias"),
        TensorSpec(name="far", kind="external", sizes=[3]),
    ]
    data = build_pte(PteSpec([MethodSpec(tensors=tensors)]))
    model = model_of(data)
    assert cut(data, pick_tensor(model, "layer.weight")) == b"weights!"
    assert cut(data, pick_tensor(model, "#1")) == b"bias"
    for name, message in (
        ("layer", "there is no tensor layer"),
        ("#9", "there is no tensor #9"),
        ("layer.bias", "2 tensors are called layer.bias"),
        ("far", "not in this file"),
    ):
        with pytest.raises(PickError, match=message):
            pick_tensor(model, name)


def test_models_without_such_parts_say_so() -> None:
    model = model_of(build_pte(PteSpec()))
    with pytest.raises(PickError, match="no delegates"):
        pick_delegate(model, "A")
    with pytest.raises(PickError, match="no named data"):
        pick_key(model, "k")
    with pytest.raises(PickError, match="no tensors"):
        pick_tensor(model, "t")


def test_ranges() -> None:
    assert pick_range(10, 0, 10) == Range(0, 10)
    assert pick_range(10, 10, 0) == Range(10, 0)
    for offset, size in ((-1, 2), (0, 11), (11, 0), (5, -1)):
        with pytest.raises(PickError, match="leaves the content"):
            pick_range(10, offset, size)


def test_long_lists_and_strange_names_are_cut() -> None:
    named = [NamedSpec(f"key {n}\x1b" + "x" * 100, bytes([n])) for n in range(20)]
    with pytest.raises(PickError) as caught:
        pick_key(model_of(build_pte(PteSpec(named_data=named))), "\x1bnone")
    hint = caught.value.hint or ""
    assert hint.endswith(" and 8 more")
    assert "\x1b" not in hint + str(caught.value)
    assert len(hint) < 1200


# The command.


def extract(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["extract", *arguments], standalone_mode=False)


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "etpack", "extract", *arguments], capture_output=True)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--segment", "3"], "model.segment3.bin"),
        (["--delegate", "XnnpackBackend"], "model.delegate-XnnpackBackend.bin"),
        (["--delegate", "forward:0"], "model.delegate-forward-0.bin"),
        (["--range", "0x10:1K"], "model.range-0x10-1K.bin"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_parts_come_out_under_a_name_of_their_own(
    digits: Path, tmp_path: Path, packed: bool, arguments: list[str], name: str
) -> None:
    content = digits.read_bytes()
    model = model_of(content)
    expected = {
        "--segment": cut(content, model.segments[3].range),
        "--delegate": cut(content, model.methods[0].delegates[0].blob),
        "--range": content[0x10:0x410],
    }
    source = tmp_path / "model.pte"
    source.write_bytes(content)
    if packed:
        compress(source, options=Options(block_size=4096))
        source = source.with_suffix(".etz")
    result = extract(str(source), *arguments)
    assert result.exception is None
    written = (tmp_path / name).read_bytes()
    assert written == expected[arguments[0]]
    assert result.output.startswith(f"{source}: ")
    assert f"{len(written):,} bytes" in result.output
    again = extract(str(source), *arguments)
    assert again.exception is not None
    assert extract(str(source), *arguments, "-f").exception is None


def test_tensors_and_keys_of_packed_models(example_model: Path, tmp_path: Path) -> None:
    packed = tmp_path / "model.etz"
    compress(example_model, packed, Options(block_size=4096, codec="lz4", alignment=512))
    content = example_model.read_bytes()
    model = model_of(content)
    wanted = [("--tensor", f"#{n}", t.data) for n, t in enumerate(model.tensors) if t.data]
    wanted += [("--key", named.key, model.segments[named.segment].range) for named in model.named_data]
    assert len(wanted) >= 10
    for option, name, place in wanted:
        assert extract(str(packed), option, name, "-o", str(tmp_path / "part"), "-f", "-q").output == ""
        assert (tmp_path / "part").read_bytes() == cut(content, place)


def test_json_says_what_was_written(packed_digits: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.bin"
    report = json.loads(extract(str(packed_digits), "--segment", "4", "-o", str(target), "--json").stdout)
    (result,) = report["results"]
    assert result["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert result["size"] == target.stat().st_size
    assert (result["part"], result["name"], result["output"]) == ("segment", "4", str(target))


def test_stdout_gets_the_bytes_and_nothing_else(digits: Path, packed_digits: Path) -> None:
    done = run(str(packed_digits), "--range", "1000:2K", "-o", "-")
    assert done.returncode == 0
    assert done.stdout == digits.read_bytes()[1000:3048]
    assert b"2,048 bytes" in done.stderr


def test_exit_codes(digits: Path, packed_digits: Path, tmp_path: Path) -> None:
    damaged = bytearray(packed_digits.read_bytes())
    damaged[100_000] ^= 1
    bad = tmp_path / "bad.etz"
    bad.write_bytes(damaged)
    whole = f"0:{digits.stat().st_size}"
    done = run(str(bad), "--range", whole, "-o", str(tmp_path / "part"))
    assert done.returncode == 1
    assert b"block-crc" in done.stderr
    assert not (tmp_path / "part").exists()
    assert run(str(tmp_path / "missing.etz"), "--segment", "0").returncode == 4
    unknown = run(str(packed_digits), "--segment", "99")
    assert unknown.returncode == 2
    assert unknown.stderr.decode().splitlines() == [
        f"etpack: error: {packed_digits}: there is no segment 99; choose from 0 to 11"
    ]
    assert run(str(digits)).returncode == 2


def test_what_is_no_model_gives_ranges_only(tmp_path: Path) -> None:
    source = tmp_path / "notes.txt"
    source.write_bytes(b"no model at all " * 1000)
    compress(source, options=Options(opaque=True))
    for file in (source, tmp_path / "notes.txt.etz"):
        assert run(str(file), "--segment", "0").returncode == 1
        assert extract(str(file), "--range", "16:16", "-f").exception is None
        assert next(tmp_path.glob("*.bin")).read_bytes() == b"no model at all "


def test_only_the_blocks_of_the_part_are_read(packed_digits: Path, tmp_path: Path) -> None:
    damaged = bytearray(packed_digits.read_bytes())
    damaged[100_000] ^= 1
    bad = tmp_path / "bad.etz"
    bad.write_bytes(damaged)
    assert extract(str(bad), "--segment", "3", "-o", str(tmp_path / "part")).exception is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--segment", "1", "--key", "k"],
        ["--segment", "-1"],
        ["--segment", "x"],
        ["--range", "100"],
        ["--range", "1:x"],
        ["--range", "0:999999999"],
        ["--delegate", "NoBackend"],
    ],
    ids=" ".join,
)
def test_wrong_usage(packed_digits: Path, tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["extract", str(packed_digits), *arguments, "-o", str(tmp_path / "part")])
    assert result.exit_code == 2 or getattr(result.exception, "exit_code", None) == 2
    assert not (tmp_path / "part").exists()


def test_a_model_without_named_data_says_so() -> None:
    with pytest.raises(PickError, match="no named data") as caught:
        pick_key(model_of(build_pte(PteSpec())), "key")
    assert "--segment" in (caught.value.hint or "") or "inspect" in (caught.value.hint or "")
