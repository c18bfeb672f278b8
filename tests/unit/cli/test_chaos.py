"""`petset chaos` as far as it gets without a cluster: kinds, bad input, a cluster that does not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from petset.cluster.chaos.faults import FAULTS
from petset.cluster.cli.main import main
from petset.cluster.settings import ClusterSettings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one cluster that does not run."""
    monkeypatch.setenv("PETSET_HOME", str(tmp_path))
    ClusterSettings("old", str(tmp_path), run_folder=str(tmp_path / "gone"), time_scale=60).save()
    return tmp_path


def chaos(*words: str, text: str = "") -> Result:
    return CliRunner().invoke(main, ["chaos", *words], input=text)


def test_every_kind_is_listed_with_its_fields() -> None:
    lines = chaos("faults").output.splitlines()
    assert [line.split()[0] for line in lines[::2]] == [*FAULTS]
    assert lines[lines.index(next(line for line in lines if line.startswith("skew-clock"))) + 1].split() == [
        "node=…", "seconds=…", "[for_seconds=…]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "text", "status", "said"),
    [
        pytest.param(["inject"], "", 2, "give either a KIND with its fields, or --file", id="nothing"),
        pytest.param(["inject", "kill", "-f", "-"], "", 2, "give either a KIND", id="both"),
        pytest.param(["inject", "explode"], "", 1, "no fault 'explode'", id="unknown kind"),
        pytest.param(["inject", "kill", "x=1"], "", 1, "kill has no field 'x'", id="unknown field"),
        pytest.param(["inject", "-f", "-"], "a: [", 1, "this is no YAML", id="garbage"),
        pytest.param(["inject", "-f", "-"], "fault: kill", 1, "kill needs component", id="half a fault"),
        pytest.param(["inject", "-f", "/nonexistent"], "", 2, "No such file", id="no file"),
        pytest.param(["heal"], "", 2, "give either a fault's ID", id="heal what"),
        pytest.param(["heal", "f1", "--all"], "", 2, "give either a fault's ID", id="heal one and all"),
        pytest.param(["ls", "-c", "nobody"], "", 1, "there is no cluster nobody", id="unknown cluster"),
        pytest.param(["ls", "-c", "old"], "", 1, "cluster old does not answer; is it running?", id="not running"),
        pytest.param(["heal", "--all", "-c", "old"], "", 1, "is it running?", id="nothing to heal there"),
        pytest.param(
            ["inject", "-f", "-", "-c", "old"], "[{fault: kill, component: dns}]", 1, "is it running?", id="a good file"
        ),
    ],
)
def test_bad_input_is_answered_in_one_line(home: Path, words: list[str], text: str, status: int, said: str) -> None:
    result = chaos(*words, text=text)
    assert (result.exit_code, said in result.output) == (status, True), result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_bytes(b"\xd9\xff")
    result = chaos("inject", "-f", str(tmp_path / "faults.yaml"))
    assert (result.exit_code, "faults.yaml: 'utf-8' codec can't decode" in result.output) == (1, True), result.output


def test_ls_of_a_cluster_that_does_not_answer_has_no_header(home: Path) -> None:
    assert chaos("ls", "-c", "old").output.startswith("Error: ")


def test_ls_states_the_ratio_of_times(home: Path) -> None:
    result = CliRunner().invoke(main, ["ls"])
    assert result.output.splitlines()[-1] == "old: long times of nodes and restarts are 60 times shorter"


@pytest.mark.parametrize("ratio", ["0", "0.5", "-3", "1001", "nan"])
def test_a_ratio_that_cannot_be_is_refused(home: Path, ratio: str) -> None:
    result = CliRunner().invoke(main, ["up", "new", f"--time-scale={ratio}"])
    assert result.exit_code == 1
    assert "give 1 (Kubernetes' own times) to 1000" in result.output
