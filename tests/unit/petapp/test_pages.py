"""The texts that the guests answer, byte by byte as the book shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from petset.petapp.kubia import greeting
from petset.petapp.kubia_pet import Pet, pet_page, stored_page
from petset.petapp.kubia_pet_peers import cluster_page, lookup_failure_line
from petset.petapp.storage import DataFile


def test_greeting() -> None:
    assert greeting("kubia-0") == "You've hit kubia-0\n"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        pytest.param(None, b"No data posted yet", id="nothing stored"),
        pytest.param(b"Hey there!", b"Hey there!", id="data"),
        pytest.param(b"", b"", id="an empty body was stored"),
        pytest.param("grüß".encode("latin-1"), b"gr\xfc\xdf", id="bytes that are no UTF-8"),
    ],
)
def test_pet_page(data: bytes | None, shown: bytes) -> None:
    assert pet_page("kubia-0", data) == b"You've hit kubia-0\nData stored on this pod: " + shown + b"\n"


def test_stored_page() -> None:
    assert stored_page("kubia-0") == b"Data stored on pod kubia-0\n"


def test_cluster_page() -> None:
    assert cluster_page("kubia-1", [b"- a: nice!\n", b"- b: good!\n"]) == (
        b"You've hit kubia-1\nData stored in the cluster:\n- a: nice!\n- b: good!\n"
    )


def test_lookup_failure_is_one_line() -> None:
    assert lookup_failure_line(OSError("kubia: no such name")) == (
        b"Could not look up DNS SRV records: kubia: no such name\n"
    )


async def test_a_disk_that_cannot_be_read_is_a_500_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "kubia.txt").mkdir()
    pet = Pet("kubia-0", DataFile(tmp_path))
    with pytest.raises(web.HTTPInternalServerError) as caught:
        await pet.show(make_mocked_request("GET", "/"))
    assert caught.value.text == "Could not read data on pod kubia-0: Is a directory\n"


async def test_a_disk_that_is_not_usable_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    await Pet("kubia-0", DataFile(tmp_path / "file" / "data")).prepare(web.Application())
