"""Experiments on real clusters, in a short form: everything holds, the report is there, and Ctrl-C heals first.

The whole library takes some minutes: `petset chaos run --all --duration 8`.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.on_ray.driver import Driver, RealCluster, eventually
from tests.on_ray.gate import Gate


def report_of(folder: Path, run: str) -> dict[str, Any]:
    assert (folder / run / "report.html").read_text().startswith("<!doctype html>")
    report: dict[str, Any] = json.loads((folder / run / "report.json").read_text())
    return report


def test_what_is_forced_is_waived_and_everything_else_holds(
    petset: Driver, shared_in_namespaces: RealCluster, tmp_path: Path
) -> None:
    words = ["chaos", "run", "split-brain", "--seed", "1", "--duration", "9", "--cluster", shared_in_namespaces.name]
    assert f"petset {' '.join(words)}" in petset.succeed(*words, "--report", str(tmp_path))
    report = report_of(tmp_path, "split-brain-1")
    assert report["counts"]["violations"] == 0
    assert report["counts"]["writes_lost"] == 0
    assert report["counts"]["writes_acknowledged"] > 20
    identity = next(each for each in report["verdicts"] if each["oracle"] == "identity")
    [twice] = identity["violations"]
    assert twice["waived"] == "the user deleted the older pod by force"
    assert twice["duration_seconds"] > 0
    assert {row["node"] for row in twice["evidence"]["processes"]} == {"node-1", "node-2"}


def test_faults_by_chance_break_nothing(petset: Driver, shared_in_namespaces: RealCluster, tmp_path: Path) -> None:
    words = ["chaos", "run", "everything", "--seed", "1", "--duration", "8", "--cluster", shared_in_namespaces.name]
    petset.succeed(*words, "--report", str(tmp_path))
    report = report_of(tmp_path, "everything-1")
    assert report["counts"]["faults"] > 0
    assert all(each["judged"] for each in report["verdicts"])


def test_ctrl_c_heals_first_and_takes_the_workload_away(petset: Driver, shared: RealCluster) -> None:
    with petset.in_foreground("chaos", "run", "dns-outage", "--duration", "600", "--cluster", "shared") as process:
        eventually(lambda: _acts(shared), "a fault acts")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGINT, output
    assert "interrupted; every fault was healed and the workload removed" in output
    assert not _acts(shared)
    names = {each["metadata"]["name"] for each in shared.request("/api/v1/namespaces")["items"]}
    assert not {name for name in names if name.startswith("chaos-")}


def _acts(cluster: RealCluster) -> bool:
    return any(fault["state"] == "active" for fault in Gate(cluster).ask(lambda gate: gate.faults()))


def test_a_cluster_that_is_broken_already_is_left_alone(petset: Driver, shared: RealCluster) -> None:
    petset.succeed("chaos", "inject", "freeze", "component=dns", "--cluster", "shared")
    try:
        refused = petset.run("chaos", "run", "pod-kill", "--cluster", "shared")
    finally:
        petset.succeed("chaos", "heal", "--all", "--cluster", "shared")
    assert refused.returncode == 2
    assert "Error: pod-kill: faults are active: " in refused.stderr


def test_what_the_network_cannot_do_is_skipped(petset: Driver, shared: RealCluster) -> None:
    told = petset.succeed("chaos", "run", "partition-heal", "--cluster", "shared")
    assert "skipped partition-heal: it needs a cluster on the network `namespaces`" in told
