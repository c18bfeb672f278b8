"""`petset demo` when its cluster does not come up: the logs that the message names stay, everything else goes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from petset.cluster.cli import demo
from petset.cluster.cli.launch import LaunchFailed


@pytest.fixture
def homes() -> Iterator[list[Path]]:
    seen: list[Path] = []
    yield seen
    for home in seen:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(
    ("end", "stays"),
    [
        pytest.param(LaunchFailed("not up after 120 s; the files in … say why"), True, id="the logs are named"),
        pytest.param(KeyboardInterrupt(), False, id="ctrl-c"),
    ],
)
def test_the_folder_stays_only_for_its_logs(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch, end: BaseException, stays: bool
) -> None:
    def no_cluster(home: Path, *_: object) -> None:
        homes.append(home)
        (home / demo.NAME / "log").mkdir(parents=True)
        raise end

    monkeypatch.setattr(demo, "running_cluster", no_cluster)
    with pytest.raises(type(end)):
        demo.play_demo(Console(), node_count=1)
    assert [home.exists() for home in homes] == [stays]
