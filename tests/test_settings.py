"""Small files of TOML or JSON that a user writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from etpack.errors import BackendsError
from etpack.settings import MAX_SIZE, read_settings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.toml", 'a = 1\n[b]\nc = ["d"]\n'),
        ("x.json", '{"a": 1, "b": {"c": ["d"]}}'),
        ("bom", '\ufeffa = 1\n[b]\nc = ["d"]\n'),
        ("x", '\n {"a":1,"b":{"c":["d"]}}'),
    ],
)
def test_toml_and_json_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_settings(tmp_path / name, BackendsError) == {"a": 1, "b": {"c": ["d"]}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "no JSON: .* line 1 column 2"),
        (b"a = 1\nb = \n", "no TOML: .*line 2"),
        (b"[]", "no TOML: "),
        (b"a = 1\na = 2", "no TOML: "),
        (b'{"a": {"b": 1, "b": 2}}', "'b' is there twice"),
        (b'{"\n\xff"}', "line 2 is not UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b"a" + b".a" * 500_000 + b" = 1", "nested too deeply"),
        (b"a = {b.c = 1, '' " + b'. "\\"" ' * 100_000 + b"= 1}", "nested too deeply"),
        (b"[a" + b".a" * 100_000 + b"]\n" + b"b = 1\n" * 100_000, "nested too deeply"),
        (b'a = ["""""""", {b' + b".b" * 100_000 + b" = 1}]", "nested too deeply"),
        (b"a = ['''\n''''', {b" + b".b" * 100_000 + b" = 1}]", "nested too deeply"),
        (b"#" * (MAX_SIZE + 1), "larger than 1,048,576 bytes"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"a = 0x" + b"f" * 9000, "no TOML: "),
        (b'{"a": ' + b"9" * 9000 + b"}", "no JSON: "),
    ],
)
def test_a_wrong_file_says_where_and_what_to_do(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(BackendsError, match=message) as caught:
        read_settings(tmp_path / "x", BackendsError)
    assert caught.value.path == str(tmp_path / "x")
    assert caught.value.hint


def test_dots_in_texts_are_no_keys(tmp_path: Path) -> None:
    dots = "w." * 40
    (tmp_path / "x").write_text(
        f'a = [\'{dots}\', "\\"{dots}"] # {dots}\nb = """\n{dots}"""\nc = \'\'\'\n{dots}\'\'\'\n'
    )
    assert read_settings(tmp_path / "x", BackendsError) == {"a": [dots, f'"{dots}'], "b": dots, "c": dots}
