"""Links through the proxy: which are led back into it, and that nothing else of a page changes."""

from __future__ import annotations

import zlib
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from petset.cluster.apiserver.proxy_links import MAX_TAG_BYTES, HtmlLinks, PackedLinks, link_rewriter

PREFIX = "/api/v1/namespaces/default/pods/web/proxy"
REWRITTEN = link_rewriter(PREFIX, ["10.244.1.2:8080", "127.0.0.1:6443"])


def through(page: bytes, *, piece_bytes: int = 1_000_000) -> bytes:
    links = HtmlLinks(REWRITTEN)
    pieces = [page[at : at + piece_bytes] for at in range(0, len(page), piece_bytes)]
    return b"".join(map(links.feed, pieces)) + links.finish()


@pytest.mark.parametrize(
    ("url", "then"),
    [
        pytest.param("/", f"{PREFIX}/", id="the root"),
        pytest.param("/a/b?c=d#e", f"{PREFIX}/a/b?c=d#e", id="a path with everything"),
        pytest.param("/a?", f"{PREFIX}/a?", id="an empty query stays"),
        pytest.param("http://10.244.1.2:8080/next", f"{PREFIX}/next", id="the pod's address"),
        pytest.param("https://127.0.0.1:6443/next", f"{PREFIX}/next", id="the client's Host"),
        pytest.param("//10.244.1.2:8080/next", f"{PREFIX}/next", id="without a scheme"),
        pytest.param(f"{PREFIX}/a", f"{PREFIX}/a", id="inside already"),
        pytest.param("a/b", "a/b", id="relative"),
        pytest.param("?page=2", "?page=2", id="a query alone"),
        pytest.param("#top", "#top", id="a fragment"),
        pytest.param("", "", id="empty"),
        pytest.param("//cdn.example/x.js", "//cdn.example/x.js", id="another host"),
        pytest.param("http://10.244.1.2:9/x", "http://10.244.1.2:9/x", id="another port"),
        pytest.param("http://10.244.1.2:8080", "http://10.244.1.2:8080", id="a host without a path"),
        pytest.param("javascript:go()", "javascript:go()", id="a script"),
        pytest.param("ftp://10.244.1.2:8080/x", "ftp://10.244.1.2:8080/x", id="another protocol"),
        pytest.param("http://[::1/x", "http://[::1/x", id="a broken address"),
    ],
)
def test_where_a_link_leads(url: str, then: str) -> None:
    assert REWRITTEN(url) == then


@pytest.mark.parametrize(
    "tag",
    [
        '<a class="x" href="{}">', "<a href='{}'>", "<A HREF={}>", '<img alt=">" src="{}"/>', '<a\nhref = "{}"\n>',
        '<form method=post action="{}">', '<script src="{}" async>', '<link rel=icon href="{}">',
        '<body background="{}">',
        '<input disabled formaction="{}">', '<video src="x" poster="{}">',
    ],
)  # fmt: skip
def test_tags_with_links(tag: str) -> None:
    assert through(tag.format("/x").encode()).decode() == tag.format(f"{PREFIX}/x")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param('<p title="/x">', id="another attribute"),
        pytest.param('<b href="/x">', id="another tag"),
        pytest.param('<a title=" href=/x ">', id="inside of another value"),
        pytest.param('<!-- <a href="/x"> -->', id="a comment"),
        pytest.param("<script>a = \"<a href='/x'>\"</script>", id="a script"),
        pytest.param('<style>b{content:"<a href=/x>"}</STYLE>', id="a style"),
        pytest.param('<title><a href="/x"></title>', id="a title"),
        pytest.param('1 < 2 <3 <a href="/x"', id="no tag, and one that never ends"),
    ],
)
def test_what_is_no_link_stays(page: str) -> None:
    assert through(page.encode()).decode() == page


def test_markup_goes_on_after_what_is_verbatim() -> None:
    page = b'<!-- x --><script>y</script><style>z</style ><a href="/x">'
    assert through(page) == page.replace(b'"/x"', f'"{PREFIX}/x"'.encode())


FRAGMENTS = st.sampled_from(
    [
        "<a href='/x'>",
        "<!--",
        "-->",
        "<script>",
        "</script>",
        "<",
        ">",
        '"',
        "'",
        "=",
        " ",
        "/x",
        "a",
        "<img src=/y",
        "\n",
        "é",
    ]
)


@given(st.lists(FRAGMENTS, max_size=30).map("".join), st.integers(1, 9))
@example("<script></scrip</script><a href='/x'>", 1)
def test_pieces_of_any_size_give_the_same(page: str, piece_bytes: int) -> None:
    assert through(page.encode(), piece_bytes=piece_bytes) == through(page.encode())


@given(st.binary(max_size=300))
def test_without_its_prefix_the_page_is_what_it_was(page: bytes) -> None:
    assert through(page).replace(PREFIX.encode(), b"") == page


def test_little_is_held_back() -> None:
    links = HtmlLinks(REWRITTEN)
    sent = came = 0
    for _ in range(100):
        piece = b'<a title="' + b"x" * 4096
        sent += len(piece)
        came += len(links.feed(piece))
        assert sent - came <= MAX_TAG_BYTES + 2 * len(piece)


PACKINGS = {"gzip": ("gzip", 31), "deflate": ("deflate", 15), "deflate without zlib's header": ("deflate", -15)}


@pytest.mark.parametrize("piece_bytes", [1, 100_000])
@pytest.mark.parametrize(("encoding", "window_bits"), PACKINGS.values(), ids=PACKINGS)
def test_a_packed_page(encoding: Literal["gzip", "deflate"], window_bits: int, piece_bytes: int) -> None:
    page = b'<a href="/x">' * (20_000 if piece_bytes > 1 else 10)
    packed = zlib.compress(page, wbits=window_bits)
    links = PackedLinks(HtmlLinks(REWRITTEN), encoding)
    came = b"".join(links.feed(packed[at : at + piece_bytes]) for at in range(0, len(packed), piece_bytes))
    assert zlib.decompress(came + links.finish(), wbits=window_bits) == through(page)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_in_another_encoding_is_an_error(encoding: Literal["gzip", "deflate"]) -> None:
    with pytest.raises(zlib.error):
        PackedLinks(HtmlLinks(REWRITTEN), encoding).feed(b"plain text")


@pytest.mark.parametrize("body", [b"", b"x"])
def test_less_than_a_header_of_deflate_passes(body: bytes) -> None:
    links = PackedLinks(HtmlLinks(REWRITTEN), "deflate")
    assert links.feed(body) + links.finish() == body
