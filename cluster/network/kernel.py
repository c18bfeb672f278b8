"""What this machine's kernel allows a cluster: found out by doing it, in a child process that is gone afterwards.

    probe ──fork──► user namespace (not for root) ─► network ─► mount ─► process ids ─► cables ─► overlay ─► nftables …

Each line builds on the ones before; the first that is refused ends what depends on it. The reason given is the
kernel's, and the switch that would change it where one is known. Takes 0.3 s, most of it for loading pyroute2.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from petset.cluster.network import syscalls
from petset.cluster.network.enclosure import enter_own_user_namespace, raise_loopback

_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=0 forbids them"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=0 forbids them"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=1 takes their privileges",
    ),
)
"""Known reasons why a user other than root is refused: a file, the value that refuses, and how to say it."""

_SOMEBODY = (IPv4Network("192.0.2.1"), IPv4Network("192.0.2.2"))
_NOT_TRIED = "not tried: it needs what is refused above"


@dataclass(frozen=True)
class Feature:
    """One thing that the kernel may allow. `needed`: without it there is no network of namespaces."""

    name: str
    purpose: str
    needed: bool
    refusal: str = ""
    """Why not; empty when it is allowed."""

    @property
    def allowed(self) -> bool:
        return not self.refusal


@dataclass(frozen=True)
class Kernel:
    """The answer of `probe`."""

    features: tuple[Feature, ...]

    @property
    def refusal(self) -> str:
        """Why there can be no network of namespaces here, in one line; empty when there can."""
        return next((f"{each.name}: {each.refusal}" for each in self.features if each.needed and not each.allowed), "")


def probe(*, only_needed: bool = False) -> Kernel:
    """Try everything, or only what a network of namespaces needs. Must be called in a process with a single thread."""
    trials = [trial for trial in _TRIALS if trial.needed or not only_needed]
    answers, answers_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answers)
        try:
            _try_all(trials, answers_end)
        finally:
            os._exit(0)
    os.close(answers_end)
    with os.fdopen(answers) as file:
        known: dict[str, str] = dict(json.loads(line) for line in file)
    os.waitpid(child, 0)
    return Kernel(
        tuple(
            Feature(trial.name, trial.purpose, trial.needed, refusal=known.get(trial.name, _NOT_TRIED))
            for trial in trials
        )
    )


def _try_all(trials: Iterable[_Trial], answers: int) -> None:
    """One JSON line [name, refusal] for each trial. A refusal of what others need ends it."""
    with ExitStack() as resources:
        for trial in trials:
            refusal = ""
            try:
                trial.attempt(resources)
            except Exception as error:  # whatever goes wrong here is the answer
                reason = str(error).removeprefix(f"[Errno {getattr(error, 'errno', None)}] ")
                refusal = f"{reason or type(error).__name__}{_hint()}"
            os.write(answers, json.dumps([trial.name, refusal]).encode() + b"\n")
            if refusal and trial.needed:
                return


def _hint() -> str:
    if os.geteuid() == 0:
        return ""
    return "".join(f" ({text})" for path, value, text in _SWITCHES if _content(path) == value)


def _content(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _user(_resources: ExitStack) -> None:
    if os.geteuid() != 0:
        enter_own_user_namespace()


def _network(_resources: ExitStack) -> None:
    syscalls.unshare(syscalls.NEW_NETWORK)
    raise_loopback()


def _mount(resources: ExitStack) -> None:
    syscalls.unshare(syscalls.NEW_MOUNT | syscalls.NEW_UTS | syscalls.NEW_IPC)
    syscalls.mount("none", "/", "", syscalls.RECURSIVE | syscalls.SLAVE)
    folder = resources.enter_context(tempfile.TemporaryDirectory())
    syscalls.mount("probe", folder, "tmpfs")
    resources.callback(syscalls.unmount_tree, folder)
    os.chdir(folder)
    resources.callback(os.chdir, "/")


def _processes(_resources: ExitStack) -> None:
    """A PID namespace with its own /proc, which a container's runtime may have covered."""
    syscalls.unshare(syscalls.NEW_PID)
    refusal, refusal_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            syscalls.mount("proc", "/proc", "proc")
        except OSError as error:
            os.write(refusal_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(refusal_end)
    with os.fdopen(refusal) as file:
        text = file.read()
    os.waitpid(child, 0)
    if text:
        raise OSError(text)


def _overlay(_resources: ExitStack) -> None:
    for name in ("upper", "work", "root"):
        os.mkdir(name)
    syscalls.mount("overlay", "root", "overlay", 0, "lowerdir=/etc,upperdir=upper,workdir=work")
    Path("root/probe").touch()


def _read_only(_resources: ExitStack) -> None:
    os.mkdir("bound")
    syscalls.mount("/etc", "bound", "", syscalls.BIND | syscalls.RECURSIVE)
    syscalls.make_read_only("bound")


def _cables(_resources: ExitStack) -> None:
    from petset.cluster.network.netlink import open_routes

    with open_routes() as here:
        here.link("add", ifname="probe0", kind="bridge")
        here.link("add", ifname="probe1", kind="veth", peer={"ifname": "probe2"})
        here.link("set", index=here.link_lookup(ifname="probe1")[0], state="up")


def _firewall(_resources: ExitStack) -> None:
    from petset.cluster.network.crossings import Packets
    from petset.cluster.network.firewall import open_firewall

    with open_firewall("probe") as firewall:
        firewall.drop([Packets(*_SOMEBODY)], share=0.5)


def _limit(_resources: ExitStack) -> None:
    from petset.cluster.network import shaping
    from petset.cluster.network.netlink import open_routes

    with open_routes() as here:
        shaping.limit(here, shaping.Line(here.link_lookup(ifname="probe1")[0], (_SOMEBODY,)), 1000)


def _translation(_resources: ExitStack) -> None:
    from petset.cluster.network.service_rules import ServiceRules

    with ServiceRules.open(services=IPv4Network("192.0.2.0/25"), pods=IPv4Network("192.0.2.128/25")):
        pass


def _delay(_resources: ExitStack) -> None:
    from petset.cluster.network import shaping
    from petset.cluster.network.netlink import open_routes

    with open_routes() as here:
        shaping.delay(here, shaping.Line(here.link_lookup(ifname="probe1")[0], (_SOMEBODY,)), delay_ms=1)


@dataclass(frozen=True)
class _Trial:
    name: str
    purpose: str
    needed: bool
    attempt: Callable[[ExitStack], None]


_TRIALS = (
    _Trial("user namespaces", "being root inside without being root", True, _user),
    _Trial("network namespaces", "a network stack for every node and pod", True, _network),
    _Trial("mount namespaces", "volumes at their own paths", True, _mount),
    _Trial("PID namespaces", "a process tree for every container; nothing outlives the cluster", True, _processes),
    _Trial("overlay mounts", "pods may write anywhere, the host stays as it is", True, _overlay),
    _Trial("read-only binds", "read-only volume mounts", True, _read_only),
    _Trial("bridges and veth", "cables between nodes and pods", True, _cables),
    _Trial("nftables", "cutting pods and nodes off, losing packets", False, _firewall),
    _Trial("htb and u32", "limiting bandwidth", False, _limit),
    _Trial("address translation", "services through the kernel instead of a relay", False, _translation),
    _Trial("netem", "delaying packets", False, _delay),
)
