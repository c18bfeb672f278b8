"""`petset chaos run` and `experiments` with what cannot be: one line, exit status 2, and no trace."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from petset.cluster import lock
from petset.cluster.chaos.experiments import load_experiment
from petset.cluster.chaos.run import Plan
from petset.cluster.cli.chaos_run import replay_command
from petset.cluster.cli.main import main
from petset.cluster.settings import ClusterSettings


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterSettings:
    """A cluster that was up once."""
    monkeypatch.setenv("PETSET_HOME", str(tmp_path))
    settings = ClusterSettings("old", str(tmp_path), port=7443, run_folder=str(tmp_path / "run"))
    settings.save()
    return settings


def chaos(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["chaos", *arguments])


def refused(*arguments: str) -> str:
    """The one line with which `run` refuses, its last."""
    result = chaos("run", *arguments, "--cluster", "old")
    assert result.exit_code == 2, result.output
    assert result.exc_info is None or result.exc_info[0] is SystemExit
    return result.output.splitlines()[-1]


def test_the_library_is_listed() -> None:
    told = chaos("experiments").output
    assert "split-brain           30 s  a pod on a cut-off node is deleted by force" in told


def test_an_unknown_cluster(stopped: ClusterSettings) -> None:
    result = chaos("run", "pod-kill", "--cluster", "nothing")
    assert result.exit_code == 2
    assert result.output.startswith("Error: there is no cluster nothing in ")


def test_an_unknown_experiment(stopped: ClusterSettings) -> None:
    assert refused("no-such").startswith("Error: there is no experiment and no file no-such; the library has ")


def test_a_file_that_is_no_experiment(stopped: ClusterSettings, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    assert refused(str(tmp_path / "mine.yaml")).endswith("mine.yaml: workload is missing")


def test_a_cluster_that_does_not_run(stopped: ClusterSettings) -> None:
    assert refused("pod-kill").startswith("Error: pod-kill: cluster old has no credentials: ")


def test_one_experiment_at_a_time(stopped: ClusterSettings) -> None:
    descriptor = lock.acquire(stopped.folder.root / "chaos.lock")
    assert descriptor is not None
    try:
        assert refused("pod-kill") == "Error: another experiment runs on cluster old"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("arguments", [(), ("pod-kill", "--all")], ids=["neither", "both"])
def test_experiments_or_all_of_them(stopped: ClusterSettings, arguments: tuple[str, ...]) -> None:
    assert refused(*arguments).endswith("Error: give either experiments or --all")


@pytest.mark.parametrize("arguments", [(), ("",), ("f1", "--all")], ids=["neither", "an empty id", "both"])
def test_one_fault_is_healed_or_all_are(stopped: ClusterSettings, arguments: tuple[str, ...]) -> None:
    result = chaos("heal", *arguments, "--cluster", "old")
    assert result.exit_code == 2
    assert "give either a fault's ID" in result.output


def test_the_command_that_does_it_again_is_for_a_shell_and_exact(stopped: ClusterSettings, tmp_path: Path) -> None:
    experiment, objects = load_experiment("pod-kill")
    plan = Plan(experiment, objects, seed=7, duration_seconds=86399.125, network="loopback", namespace="x")
    assert shlex.split(replay_command("my exp's.yaml", stopped, plan)) == [
        "petset", "chaos", "run", "my exp's.yaml", "--seed", "7", "--duration", "86399.125", "--cluster", "old",
    ]  # fmt: skip


def test_several_are_counted(stopped: ClusterSettings) -> None:
    assert refused("no-such", "other").startswith("2 experiments: 2 not run")


@pytest.mark.parametrize(
    "option",
    ["--seed=-1", "--seed=x", f"--seed={2**63}", "--duration=0", "--duration=long", "--duration=inf", "--duration=nan"],
)
def test_a_number_that_cannot_be_is_wrong_usage(stopped: ClusterSettings, option: str) -> None:
    result = chaos("run", "pod-kill", option, "--cluster", "old")
    assert result.exit_code == 2
    assert "Invalid value for" in result.output
