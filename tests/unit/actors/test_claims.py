"""What a cluster takes from the machine, on real locks and sockets: all of it, or a message and no trace."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from petset.actors import claims as taking
from petset.actors.claims import (
    ClaimError,
    Claims,
    Wanted,
    choose_dns_port,
    choose_network,
    claim_slot,
    explain_port_error,
)
from petset.cluster import lock
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.settings import ClusterFolder, ClusterSettings

ANY_PORT = Wanted({"port": 0})
REFUSED = "user namespaces: not here"


def claim(folder: ClusterFolder, wanted: Wanted) -> Claims:
    """On a machine without namespaces."""
    return taking.claim(folder, wanted, refusal=lambda: REFUSED)


@pytest.fixture
def folder(tmp_path: Path) -> ClusterFolder:
    return ClusterFolder(tmp_path / "one")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run_and_release(folder: ClusterFolder, wanted: Wanted) -> Claims:
    claims = claim(folder, wanted)
    claims.release()
    return claims


def test_a_claim_holds_the_lock_and_the_port_until_released(folder: ClusterFolder) -> None:
    claims = claim(folder, ANY_PORT)
    assert lock.holder(folder.lock) == os.getpid()
    socket.create_connection(("127.0.0.1", claims.settings.port)).close()
    assert Path(claims.settings.run_folder).is_dir()
    claims.release()
    assert lock.holder(folder.lock) is None
    assert not Path(claims.settings.run_folder).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", claims.settings.port))


def test_what_was_claimed_is_stored(folder: ClusterFolder) -> None:
    claims = run_and_release(folder, Wanted({"node_count": 5, "port": 0}))
    assert folder.read_settings() == claims.settings
    assert (claims.settings.name, claims.settings.node_count) == ("one", 5)


def test_a_cluster_that_comes_back_has_its_old_port_slot_and_nodes(folder: ClusterFolder) -> None:
    first = run_and_release(folder, Wanted({"node_count": 5, "port": 0})).settings
    again = run_and_release(folder, Wanted()).settings
    assert (again.port, again.slot, again.node_count) == (first.port, first.slot, 5)


def test_any_free_port_is_not_the_fixed_one_that_the_cluster_had(folder: ClusterFolder) -> None:
    """A fixed port below those that the kernel gives away by itself."""
    ClusterSettings("one", str(folder.root.parent), port=7443).save()
    port = run_and_release(folder, ANY_PORT).settings.port
    assert port not in (0, 7443)
    assert run_and_release(folder, Wanted()).settings.port == port


def test_two_clusters_share_neither_port_nor_addresses(tmp_path: Path) -> None:
    one, two = claim(ClusterFolder(tmp_path / "one"), ANY_PORT), claim(ClusterFolder(tmp_path / "two"), ANY_PORT)
    assert one.settings.port != two.settings.port
    assert one.settings.slot != two.settings.slot
    one.release()
    two.release()


def test_the_run_folder_of_a_killed_supervisor_is_removed(folder: ClusterFolder) -> None:
    first = run_and_release(folder, ANY_PORT).settings
    left_behind = Path(first.run_folder)
    left_behind.mkdir()
    run_and_release(folder, ANY_PORT)
    assert not left_behind.exists()


def test_a_run_folder_is_only_removed_where_petset_makes_them(folder: ClusterFolder, tmp_path: Path) -> None:
    run_and_release(folder, ANY_PORT)
    precious = tmp_path / "precious"
    precious.mkdir()
    stored = json.loads(folder.settings.read_text())
    folder.settings.write_text(json.dumps(stored | {"run_folder": str(precious)}))
    run_and_release(folder, ANY_PORT)
    assert precious.exists()


def test_a_running_cluster_is_not_started_twice(folder: ClusterFolder) -> None:
    running = claim(folder, ANY_PORT)
    stored = folder.settings.read_bytes()
    with pytest.raises(ClaimError, match="one is already running; stop it with `petset down one`"):
        claim(folder, Wanted({"node_count": 9, "port": 0}))
    assert folder.settings.read_bytes() == stored
    running.release()


def test_a_refused_new_cluster_leaves_no_trace(folder: ClusterFolder, taken_port: int) -> None:
    with pytest.raises(ClaimError, match=f"port {taken_port} is taken by another program; choose another with --port"):
        claim(folder, Wanted({"port": taken_port}))
    assert not folder.root.exists()


def test_a_refused_old_cluster_keeps_all_it_had(folder: ClusterFolder, taken_port: int) -> None:
    run_and_release(folder, ANY_PORT)
    stored = folder.settings.read_bytes()
    with pytest.raises(ClaimError):
        claim(folder, Wanted({"port": taken_port}))
    assert folder.settings.read_bytes() == stored
    assert lock.holder(folder.lock) is None


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        pytest.param("Two_Pets", ANY_PORT, "use lower-case letters", id="name"),
        pytest.param("one", Wanted({"node_count": 0, "port": 0}), "a cluster has 1 to 250 nodes", id="too-few-nodes"),
        pytest.param(
            "one", Wanted({"node_count": 251, "port": 0}), "a cluster has 1 to 250 nodes", id="too-many-nodes"
        ),
        pytest.param("one", Wanted({"port": 70000}), "from 0 .any free one. to 65535", id="port-number"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, name: str, wanted: Wanted, message: str) -> None:
    with pytest.raises(ClaimError, match=message):
        claim(ClusterFolder(tmp_path / name), wanted)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"colour": 1}', '{"name": 3, "home": "x"}'])
def test_damaged_settings_are_named_and_kept(folder: ClusterFolder, content: str) -> None:
    folder.root.mkdir()
    folder.settings.write_text(content)
    with pytest.raises(ClaimError, match=r"settings.json is damaged .*; remove it or restore it"):
        claim(folder, ANY_PORT)
    assert folder.settings.read_text() == content


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClaimError, match=r"cannot write to .*; set PETSET_HOME to a folder of yours"):
        claim(ClusterFolder(tmp_path / "file" / "one"), ANY_PORT)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        pytest.param(PermissionError(errno.EACCES, "denied"), "needs root; choose one above 1023", id="privileged"),
        pytest.param(OSError(errno.EADDRINUSE, "in use"), "is taken by another program", id="taken"),
        pytest.param(OSError(errno.EADDRNOTAVAIL, "no such address"), "(no such address)", id="anything-else"),
    ],
)
def test_each_reason_that_denies_a_port_names_the_option(error: OSError, advice: str) -> None:
    explained = explain_port_error(443, error)
    assert advice in explained
    assert "--port" in explained
    assert "\n" not in explained


def test_a_slot_is_owned_by_one_at_a_time() -> None:
    with ExitStack() as first, ExitStack() as second:
        taken = claim_slot(61, first)
        other = claim_slot(taken, second)
        assert other != taken
        first.close()
        assert claim_slot(taken, second) == taken


def test_dns_falls_back_to_a_port_that_can_be_had_and_says_so() -> None:
    """Whoever may bind port 53 finds it taken here; everybody else is denied it."""
    address = loopback_plan(62).dns_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as occupant:
        with suppress(PermissionError):
            occupant.bind((address, 53))
        port, notes = choose_dns_port(62)
    assert port == 1053
    assert f"{address}:1053" in notes[0]


@pytest.mark.parametrize(
    ("asked", "before", "refusal", "chosen"),
    [
        pytest.param(None, None, "", "namespaces", id="namespaces where they are allowed"),
        pytest.param(None, None, REFUSED, "loopback", id="else the loopback"),
        pytest.param("auto", None, "", "namespaces", id="auto is the default"),
        pytest.param("loopback", None, "", "loopback", id="the loopback on request"),
        pytest.param("namespaces", None, "", "namespaces", id="namespaces on request"),
        pytest.param(None, "loopback", "", "loopback", id="a cluster keeps the loopback"),
        pytest.param("auto", "loopback", "", "loopback", id="auto keeps it too"),
        pytest.param(None, "namespaces", "", "namespaces", id="a cluster keeps its namespaces"),
    ],
)
def test_the_network_of_a_cluster(asked: str | None, before: str | None, refusal: str, chosen: str) -> None:
    stored = ClusterSettings("one", "/home", network=before) if before else None
    assert choose_network(stored, Wanted(network=asked), lambda: refusal)[0] == chosen


@pytest.mark.parametrize(
    ("asked", "before", "refusal", "message"),
    [
        pytest.param("namespaces", None, REFUSED, "not here.*petset doctor", id="the kernel refuses"),
        pytest.param(None, "namespaces", REFUSED, "not here", id="the kernel refuses what the cluster began with"),
        pytest.param("loopback", "namespaces", "", "began with --network namespaces.*--purge", id="no going back"),
        pytest.param("namespaces", "loopback", "", "began with --network loopback", id="no going over"),
    ],
)
def test_a_network_that_cannot_be_had_is_explained(
    asked: str | None, before: str | None, refusal: str, message: str
) -> None:
    stored = ClusterSettings("one", "/home", network=before) if before else None
    with pytest.raises(ClaimError, match=message):
        choose_network(stored, Wanted(network=asked), lambda: refusal)


def test_the_limits_of_the_loopback_are_told(folder: ClusterFolder) -> None:
    claims = run_and_release(folder, ANY_PORT)
    assert any(REFUSED in note for note in claims.notes)
    assert any("network loopback" in note for note in claims.notes)
    assert run_and_release(folder, ANY_PORT).settings.network == "loopback"
