"""Which fault stops what."""

from __future__ import annotations

from errno import EIO, ENOSPC, EROFS
from typing import get_args

import pytest

from petset.cluster.node.disk_watch import FAULTS, DiskFault, verdict, volume_at
from petset.cluster.node.syscall_filter import _NUMBERS, Deed, known_calls

STOPPED = {
    "fill-disk": {"write": ENOSPC, "create": ENOSPC},
    "read-only-disk": {"write": EROFS, "open": EROFS, "create": EROFS, "change": EROFS},
    "fail-fsync": {"sync": EIO},
    "slow-fsync": {},
}


@pytest.mark.parametrize("deed", get_args(Deed))
@pytest.mark.parametrize("kind", FAULTS)
def test_verdicts(kind: str, deed: Deed) -> None:
    assert verdict(DiskFault(kind, 100.0), deed) == STOPPED[kind].get(deed, 0)


@pytest.mark.parametrize("machine", _NUMBERS)
def test_every_call_has_its_own_number(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    named = {each.name for each in known_calls().values()}
    assert len(set(_NUMBERS[machine].values())) == len(_NUMBERS[machine])
    assert named == set(_NUMBERS[machine]) - {"seccomp", "io_uring_setup"}
    assert {"write", "pwrite64", "fsync", "fdatasync", "openat"} <= named


@pytest.mark.parametrize(
    ("path", "volume"),
    [
        ("/data", "outer"),
        ("/data/file", "outer"),
        ("/data/log/file", "inner"),
        ("/data/logs", "outer"),
        ("/database", ""),
        ("/etc", ""),
    ],
)
def test_the_innermost_volume_is_meant(path: str, volume: str) -> None:
    assert volume_at(path, {"/data": "outer", "/data/log": "inner"}) == volume


def test_an_unknown_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert known_calls() == {}
