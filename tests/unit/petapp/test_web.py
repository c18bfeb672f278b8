"""Which file a URL path names, and the pages that stand in for files."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from petset.petapp.web import error_page, locate, welcome_page


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    root = tmp_path / "html"
    for folder in ("docs", "bare", "two words"):
        (root / folder).mkdir(parents=True)
    for file in ("index.html", "a.html", "docs/index.html"):
        (root / file).write_text(file)
    (tmp_path / "secret").write_text("outside")
    return root


@pytest.mark.parametrize(
    ("path", "file"),
    [
        pytest.param("/", "index.html", id="root"),
        pytest.param("/a.html", "a.html", id="file"),
        pytest.param("//a.html", "a.html", id="slashes are merged"),
        pytest.param("/./docs/../a.html", "a.html", id="dots inside are resolved"),
        pytest.param("/docs/", "docs/index.html", id="a folder's index"),
    ],
)
def test_found(webroot: Path, path: str, file: str) -> None:
    assert locate(webroot, path) == webroot / file


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param("/b.html", web.HTTPNotFound, id="no such file"),
        pytest.param("/a.html/", web.HTTPNotFound, id="a file is no folder"),
        pytest.param("/none/", web.HTTPNotFound, id="no such folder"),
        pytest.param("/bare/", web.HTTPForbidden, id="folders are not listed"),
        pytest.param("/../secret", web.HTTPBadRequest, id="above the folder"),
        pytest.param("/docs/../../secret", web.HTTPBadRequest, id="above the folder, deeper"),
        pytest.param("/a\0b", web.HTTPNotFound, id="a zero byte"),
        pytest.param("/" + "x" * 5000, web.HTTPNotFound, id="a name too long"),
    ],
)
def test_answered_otherwise(webroot: Path, path: str, answer: type[web.HTTPException]) -> None:
    with pytest.raises(answer):
        locate(webroot, path)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        pytest.param("/docs", "/docs/", id="final slash added"),
        pytest.param("//docs", "/docs/", id="never to another host"),
        pytest.param("/two words", "/two%20words/", id="quoted"),
    ],
)
def test_a_folder_without_its_slash_redirects(webroot: Path, path: str, location: str) -> None:
    with pytest.raises(web.HTTPMovedPermanently) as caught:
        locate(webroot, path)
    assert str(caught.value.location) == location


@pytest.mark.parametrize("folder", ["html/bare", "html/none"], ids=["empty folder", "no folder"])
def test_a_root_without_index_shows_the_welcome(webroot: Path, folder: str) -> None:
    assert locate(webroot.parent / folder, "/") is None


def test_the_welcome_names_the_host() -> None:
    assert "This is &lt;web-0&gt;." in welcome_page("<web-0>")


def test_an_error_page_names_the_status() -> None:
    assert "<h1>404 Not Found</h1>" in error_page(404)
