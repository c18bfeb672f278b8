"""Volumes are measured, and those that hold too much are told about."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.node.disk_usage import complaint
from petset.cluster.trees import measure

MEBIBYTE = 1024 * 1024


def volume(storage: str) -> Object:
    claim = {"namespace": "default", "name": "data", "uid": "u", "resourceVersion": "7"}
    return {"metadata": {"name": "pvc-u"}, "spec": {"capacity": {"storage": storage}, "claimRef": claim}}


@pytest.mark.parametrize(
    ("storage", "used", "complains"),
    [("1Mi", MEBIBYTE, False), ("1Mi", MEBIBYTE + 1, True), ("1G", MEBIBYTE, False)],
)
def test_more_than_the_capacity_is_told(storage: str, used: int, complains: bool) -> None:
    said = complaint(volume(storage), used)
    assert (said is not None) is complains
    if said:
        assert (said.type, said.reason) == ("Warning", "VolumeConditionAbnormal")
        assert said.regarding["metadata"] == {"namespace": "default", "name": "data", "uid": "u"}
        assert "holds more than its capacity of 1Mi" in said.message


def test_a_volume_whose_claim_was_just_cleared_concerns_nobody() -> None:
    cleared = volume("1Mi")
    del cleared["spec"]["claimRef"]
    assert complaint(cleared, 2 * MEBIBYTE) is None


def test_a_folder_is_measured_in_blocks_with_all_that_is_below(tmp_path: Path) -> None:
    assert measure(tmp_path / "absent") == 0
    empty = measure(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * MEBIBYTE)
    (tmp_path / "sparse").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert MEBIBYTE <= measure(tmp_path) - empty < 2 * MEBIBYTE
