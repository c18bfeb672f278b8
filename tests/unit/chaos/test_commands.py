"""`petset chaos run` and `experiments` with what cannot be: one line, exit status 2, and no trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from petset.cluster import lock
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


def test_several_are_counted(stopped: ClusterSettings) -> None:
    assert refused("no-such", "other").startswith("2 experiments: 2 not run")


@pytest.mark.parametrize("option", ["--seed=-1", "--seed=x", "--duration=0", "--duration=long"])
def test_a_number_that_cannot_be_is_wrong_usage(stopped: ClusterSettings, option: str) -> None:
    result = chaos("run", "pod-kill", option, "--cluster", "old")
    assert result.exit_code == 2
    assert "Invalid value for" in result.output
