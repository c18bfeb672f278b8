"""What the commands say when they are asked for something that cannot be: one line, a status, and no trace.

No Ray is started here: `up` runs the real supervisor, which refuses before that.
"""

from __future__ import annotations

import fcntl
import json
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from petset.cluster import lock
from petset.cluster.cli.main import main
from petset.cluster.settings import RUN_FOLDER_PREFIX, ClusterFolder, ClusterSettings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("PETSET_HOME", str(home))
    return home


@pytest.fixture
def stopped(home: Path) -> ClusterFolder:
    """A cluster that was up once."""
    settings = ClusterSettings("old", str(home), port=7443)
    settings.save()
    return settings.folder


@pytest.fixture
def running(stopped: ClusterFolder) -> Iterator[ClusterFolder]:
    """A cluster whose lock is held by this process."""
    descriptor = lock.acquire(stopped.lock)
    assert descriptor is not None
    yield stopped
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def petset(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(main, list(arguments), input=answer)


def refused(*arguments: str) -> str:
    """The one line with which a command refuses."""
    result = petset(*arguments)
    assert result.exit_code == 1, result.output
    [line] = result.output.splitlines()
    return line


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["down", "nothing"], id="down"),
        pytest.param(["down", "nothing", "--purge", "--yes"], id="purge"),
        pytest.param(["kubeconfig", "nothing"], id="kubeconfig"),
    ],
)
def test_an_unknown_cluster_is_named_with_the_way_on(home: Path, arguments: list[str]) -> None:
    line = refused(*arguments)
    assert line.startswith(f"Error: there is no cluster nothing in {home}; ")
    assert "petset up nothing" in line
    assert not home.exists()


@pytest.mark.parametrize("command", ["up", "down", "kubeconfig"])
@pytest.mark.parametrize("name", ["Big", "a_b", "../a", "-", "x" * 41, ""])
def test_a_name_that_cannot_be_is_refused(home: Path, command: str, name: str) -> None:
    assert "use lower-case letters, digits and dashes" in refused(command, "--", name)
    assert not home.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--nodes", "0"], "a cluster has 1 to 250 nodes", id="no-nodes"),
        pytest.param(["--nodes", "251"], "a cluster has 1 to 250 nodes", id="too-many-nodes"),
        pytest.param(["--port", "65536"], "a port is a number from 0", id="port-number"),
    ],
)
def test_up_refuses_numbers_that_cannot_work(home: Path, options: list[str], message: str) -> None:
    assert message in refused("up", "new", *options)
    assert not (home / "new").exists()


def test_up_on_a_taken_port_names_the_option(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line = refused("up", "new", "--port", str(port))
    assert line == f"Error: port {port} is taken by another program; choose another with --port (0: any free one)"
    assert not (home / "new").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        pytest.param("nonsense", "--ray-address nonsense: give it as host:port", id="no-address"),
        pytest.param("127.0.0.1:1", "no Ray answers at 127.0.0.1:1 (Connection refused)", id="nobody-there"),
    ],
)
def test_up_on_a_ray_that_cannot_be_joined(home: Path, address: str, message: str) -> None:
    assert message in refused("up", "new", "--port", "0", "--ray-address", address)
    assert not (home / "new").exists()


def test_up_of_a_running_cluster_is_refused_and_changes_nothing(running: ClusterFolder) -> None:
    before = running.settings.read_bytes()
    assert "old is already running; stop it with `petset down old`" in refused("up", "old", "--nodes", "7")
    assert running.settings.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", '{"colour": "blue"}'])
def test_up_with_damaged_settings_says_which_file(stopped: ClusterFolder, content: str) -> None:
    stopped.settings.write_text(content)
    line = refused("up", "old", "--port", "0")
    assert f"{stopped.settings} is damaged" in line
    assert "remove it or restore it" in line
    assert stopped.settings.read_text() == content


def test_up_where_nothing_can_be_written_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PETSET_HOME", str(tmp_path / "file"))
    line = refused("up", "new", "--port", "0")
    assert f"cannot write to {tmp_path / 'file' / 'new'}" in line
    assert "set PETSET_HOME to a folder of yours" in line


def test_down_of_a_stopped_cluster_says_so(stopped: ClusterFolder) -> None:
    assert "cluster old is not running" in refused("down", "old")
    assert stopped.settings.exists()


def test_purge_removes_a_stopped_cluster(stopped: ClusterFolder) -> None:
    (stopped.volumes / "pv-a").mkdir(parents=True)
    run_folder = Path(tempfile.mkdtemp(prefix=RUN_FOLDER_PREFIX))  # a killed supervisor left it behind
    replace(stopped.read_settings(), run_folder=str(run_folder)).save()
    result = petset("down", "old", "--purge", "--yes")
    assert (result.exit_code, result.output) == (0, "cluster old removed\n")
    assert not stopped.root.exists()
    assert not run_folder.exists()


@pytest.mark.parametrize(("answer", "is_kept"), [("n\n", True), ("y\n", False), ("", True)])
def test_purge_asks_first(stopped: ClusterFolder, answer: str, is_kept: bool) -> None:
    result = petset("down", "old", "--purge", answer=answer)
    assert (result.exit_code != 0) is is_kept
    assert stopped.root.exists() is is_kept


def test_kubeconfig_prints_the_path_once_there_is_one(stopped: ClusterFolder) -> None:
    assert "has never been up" in refused("kubeconfig", "old")
    stopped.kubeconfig.write_text("apiVersion: v1\n")
    result = petset("kubeconfig", "old")
    assert (result.exit_code, result.output) == (0, f"{stopped.kubeconfig}\n")


def test_ls_without_clusters_shows_the_header_only(home: Path) -> None:
    result = petset("ls")
    assert result.exit_code == 0
    assert result.output.split() == ["NAME", "STATUS", "NODES", "PORT", "VERSION", "AGE"]
    assert not home.exists()


def test_ls_shows_stopped_and_starting_clusters(running: ClusterFolder, home: Path) -> None:
    ClusterSettings("new", str(home), node_count=5, port=8443).save()
    rows = [line.split()[:5] for line in petset("ls").output.splitlines()[1:]]
    assert rows == [["new", "stopped", "-/5", "8443", "-"], ["old", "starting", "-/3", "7443", "-"]]


def test_ls_goes_on_past_a_damaged_cluster(stopped: ClusterFolder, home: Path) -> None:
    ClusterSettings("bad", str(home)).save()
    (home / "bad" / "settings.json").write_text(json.dumps({"name": "bad"}))
    output = petset("ls").output
    assert f"{home / 'bad' / 'settings.json'} is damaged" in output
    assert any(line.split()[:2] == ["old", "stopped"] for line in output.splitlines())


def test_version_is_the_packages() -> None:
    assert petset("version").output == petset("--version").output.replace(", version", "")
