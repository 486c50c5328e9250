"""`etpack.sources.urls`: what a URL says of itself, without asking anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from etpack import SourceError
from etpack.sources.urls import is_url, local_path, shown


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://h/x", True),
        ("S3://b/k", True),
        ("a/b", False),
        ("./https://h", False),
        ("://x", False),
        ("C:x", False),
    ],
)
def test_what_is_a_url(text: str, wanted: bool) -> None:
    assert is_url(text) is wanted
    assert not is_url(Path("https://h"))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://user:pa/ss@h/x", "https://user:***@h/x"),
        ("https://user:p@ss@h/x", "https://user:***@h/x"),
        ("https://user:p#s?s@h/x?y", "https://user:***@h/x?..."),
        ("https://user:@h/x", "https://user:***@h/x"),
        ("https://h:80/x@y", "https://h:80/x@y"),
        ("https://[::1]:80/x@y", "https://[::1]:80/x@y"),
        ("https://user@h/x", "https://user@h/x"),
        ("https://h:80/x?X-Signature=abc#part", "https://h:80/x?..."),
        ("https://h/a:b@c", "https://h/a:b@c"),
        ("https://h/\x1b[31m", "https://h/?[31m"),
        ("zip://x::https://user:pass@h/y?z", "zip://x::https://user:***@h/y?..."),
        ("s3://a::b/c", "s3://a::b/c"),
    ],
)
def test_secrets_are_not_shown(url: str, wanted: str) -> None:
    assert shown(url) == wanted


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/model.pte", "model.pte"),
        ("https://h/a%20b.pte?x=/y.pte#/z", "a b.pte"),
        ("file:///a/b%20c.pte", "/a/b c.pte"),
        ("a/b.pte", "a/b.pte"),
    ],
)
def test_outputs_are_called_after_the_last_component(url: str, name: str) -> None:
    assert local_path(url) == Path(name)


@pytest.mark.parametrize("url", ["https://h", "https://h/", "https://h/..", "https://h/a%2Fb", "https://h/a%00"])
def test_a_url_without_a_name_asks_for_one(url: str) -> None:
    with pytest.raises(SourceError, match="does not end in the name") as caught:
        local_path(url)
    assert caught.value.hint == "name the output with -o"
