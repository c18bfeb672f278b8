"""The enclosure, and everything that needs one: run inside, as this user and without any privilege.

Skipped, with the kernel's reason, where namespaces are not allowed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import petset
from petset.cluster.network.kernel import probe

REFUSAL = probe(only_needed=True).refusal
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}")

ROOT = Path(petset.__file__).parent.parent
INSIDE = {
    "tests/contract/test_network.py": ("-k", "namespaces"),
    "tests/contract/test_runtime.py": ("-k", "namespaces"),
    "tests/contract/test_service_proxy.py": ("-k", "namespaces"),
    "tests/wire/test_pods_in_namespaces.py": (
        "tests/wire/test_leaks.py",
        "tests/wire/test_pod_cables.py",
        "tests/wire/test_disk_faults.py",
        "tests/wire/test_images_in_namespaces.py",
    ),
    "tests/wire/test_machine.py": ("-k", "namespaces"),
    "tests/wire/test_faults.py": (),
}
"""What runs inside, and pytest's further arguments: its choice of it, or what runs along."""
USERS = {"as this user": (), "unprivileged": ("--unprivileged",)}
ONCE = ("tests/wire/test_machine.py", "tests/wire/test_faults.py")
"""What takes long runs for one user: him who is allowed less."""
SECONDS = 110
ENCLOSED = """
import signal, sys, time
from petset.cluster.network.enclosure import Enclosure
def run():
    {body}
sys.exit(Enclosure.open(run).wait())
"""


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def enclosed(body: str) -> subprocess.Popen[str]:
    """A process that runs Python code in an enclosure; its output is what the code prints."""
    return start("-c", ENCLOSED.format(body=body))


@pytest.mark.parametrize(
    ("suite", "user"), [(suite, user) for suite in INSIDE for user in USERS if suite not in ONCE or USERS[user]]
)
def test_the_suites_of_networks_pods_and_faults_hold_inside(suite: str, user: str) -> None:
    with start("-m", "tests.inside", *USERS[user], suite, *INSIDE[suite]) as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None
    assert int(passed[1]) > 10, output


@pytest.mark.parametrize(
    ("body", "status"),
    [("return 7", 7), ("sys.exit(3)", 3), ("raise ValueError('on purpose')", 1)],
    ids=["its result", "sys.exit", "an exception"],
)
def test_an_enclosure_ends_with_its_function(body: str, status: int) -> None:
    with enclosed(body) as process:
        process.communicate(timeout=SECONDS)
    assert process.returncode == status


@pytest.mark.parametrize(
    ("limit", "refusal"),
    [("max_net_namespaces", "network namespaces: "), ("max_pid_namespaces", "PID namespaces: ")],
)
def test_a_refusal_of_the_kernel_is_found_and_told(limit: str, refusal: str) -> None:
    """Limits belong to a user namespace: a user without privileges sets them for the namespace that he makes."""
    body = (
        "from petset.cluster.network.kernel import probe;"
        f" open('/proc/sys/user/{limit}', 'w').write('0'); print(probe().refusal); return 0"
    )
    command = ("-m", "tests.unprivileged", sys.executable, "-c", ENCLOSED.format(body=body))
    with start(*command) as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert output.startswith(refusal), output
    assert "No space left on device" in output


def test_nothing_of_the_hosts_network_is_inside() -> None:
    with enclosed("import socket; print(socket.if_nameindex()); return 0") as process:
        assert process.communicate(timeout=SECONDS)[0] == "[(1, 'lo')]\n"


def test_sigterm_reaches_the_function() -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('up', flush=True); time.sleep(1000)"
    with enclosed(body) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        [gate] = psutil.Process(process.pid).children()
        gate.terminate()
        assert process.wait(SECONDS) == 5


@pytest.mark.parametrize("victim", ["opener", "gate", "init"])
def test_whoever_is_killed_nothing_stays_inside(victim: str) -> None:
    body = (
        "import os; [os.fork() for _ in range(2)]; os.setsid() if os.getpid() > 3 else None;"
        " os.write(1, b'up\\n'); time.sleep(1000)"  # print would mix the lines of four processes
    )
    with enclosed(body) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(4)] == ["up\n"] * 4
        opener = psutil.Process(process.pid)
        everyone = opener.children(recursive=True)
        assert len(everyone) == 6
        gate = opener.children()[0]
        who = {"opener": opener, "gate": gate, "init": gate.children()[0]}[victim]
        who.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(everyone, timeout=10)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
        process.wait(SECONDS)


def test_files_inside_are_the_hosts_and_mounts_are_not(tmp_path: Path) -> None:
    body = (
        f"from pathlib import Path; folder = Path({str(tmp_path)!r}); (folder / 'here').touch();"
        " from petset.cluster.network import syscalls; syscalls.mount('x', str(folder), 'tmpfs');"
        " (folder / 'hidden').touch(); return 0"
    )
    with enclosed(body) as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    assert os.listdir(tmp_path) == ["here"]
