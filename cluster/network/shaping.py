"""Slow lines: a queue in front of an interface that lets some packets wait, and all others pass at once.

    interface ── htb 1:   ── u32 filters (source, destination) ──► class 1:K  rate ── netem: delay, jitter
                          └── everything else: straight through

K follows from who speaks to whom, so a line is found again without remembering it; the filters of a line have K as
their priority. A line has a rate, a delay, or both; without either it is removed, and the queue with the last line.
Works on this thread's network namespace, through an IPRoute of it. Errors of the kernel are OSErrors; one without
`htb`, `u32` or `netem` says so.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from zlib import crc32

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import TC_H_ROOT

Pair = tuple[IPv4Network, IPv4Network]

_ROOT = 0x10000
_SOURCE_OFFSET, _DESTINATION_OFFSET = 12, 16
_UNLIMITED = 2**32 - 1
"""Bytes per second: what htb calls 32 bits of them."""
_QUEUED_PACKETS = 200
_DELAYED_PACKETS = 10_000
_ETHERNET_IP = 0x0800


@dataclass(frozen=True)
class Line:
    """Packets of some pairs (source, destination) that leave by the interface with this index."""

    index: int
    pairs: tuple[Pair, ...]

    @property
    def number(self) -> int:
        """1 to 65534."""
        return crc32(repr(self.pairs).encode()) % 0xFFFE + 1

    @property
    def handle(self) -> int:
        return _ROOT + self.number


def limit(routes: IPRoute, line: Line, bytes_per_second: int) -> None:
    _open(routes, line)
    _set_rate(routes, line, bytes_per_second)
    if not _is_delayed(routes, line):
        _let_wait(routes, line)


def delay(routes: IPRoute, line: Line, *, delay_ms: float, jitter_ms: float = 0.0) -> None:
    was_there = line.number in _lines(routes, line.index)
    _open(routes, line)
    if not was_there:
        _set_rate(routes, line, _UNLIMITED)
    times = {"delay": round(delay_ms * 1000), "jitter": round(jitter_ms * 1000)}
    try:
        with _told("netem"):
            routes.tc("replace", "netem", line.index, parent=line.handle, limit=_DELAYED_PACKETS, **times)
    except OSError:
        if not was_there:
            remove(routes, line)
        raise


def take_back_limit(routes: IPRoute, line: Line) -> None:
    """Healing what is whole is no error, here and below."""
    if _is_delayed(routes, line):
        _set_rate(routes, line, _UNLIMITED)
    else:
        remove(routes, line)


def take_back_delay(routes: IPRoute, line: Line) -> None:
    rate = _lines(routes, line.index).get(line.number, _UNLIMITED)
    if rate >= _UNLIMITED:
        remove(routes, line)
    elif _is_delayed(routes, line):
        _let_wait(routes, line)


def remove(routes: IPRoute, line: Line) -> None:
    """Let its packets pass at once."""
    if line.number not in _lines(routes, line.index):
        return
    with _told("htb"):
        routes.tc("del-filter", index=line.index, parent=_ROOT, prio=line.number, protocol=_ETHERNET_IP)
        routes.tc("del-class", index=line.index, handle=line.handle)
        if not _lines(routes, line.index):
            _remove_root(routes, line.index)


def remove_all(routes: IPRoute, indexes: Iterable[int]) -> None:
    for index in indexes:
        if _has_root(routes, index):
            with _told("htb"):
                _remove_root(routes, index)


def _remove_root(routes: IPRoute, index: int) -> None:
    routes.tc("del", index=index, handle=_ROOT, parent=TC_H_ROOT)


def _open(routes: IPRoute, line: Line) -> None:
    """Root queue, class and filters of the line, made where they are missing."""
    known = _lines(routes, line.index)
    if line.number in known:
        return
    with _told("htb"):
        if not _has_root(routes, line.index):
            routes.tc("add", "htb", line.index, _ROOT, default=0)
    _set_rate(routes, line, _UNLIMITED)
    with _told("u32"):
        for pair in line.pairs:
            routes.tc(
                "add-filter", "u32", line.index, parent=_ROOT, prio=line.number, protocol=_ETHERNET_IP,
                target=line.handle, keys=_keys(*pair),
            )  # fmt: skip


def _set_rate(routes: IPRoute, line: Line, bytes_per_second: int) -> None:
    with _told("htb"):
        routes.tc("replace-class", "htb", line.index, line.handle, parent=_ROOT, rate=bytes_per_second, quantum=1500)


def _let_wait(routes: IPRoute, line: Line) -> None:
    """Only as long as its turn takes."""
    with _told("pfifo"):
        routes.tc("replace", "pfifo", line.index, parent=line.handle, limit=_QUEUED_PACKETS)


def _keys(source: IPv4Network, destination: IPv4Network) -> Sequence[str]:
    return [
        f"{int(network.network_address):#010x}/{int(network.netmask):#010x}+{offset}"
        for network, offset in ((source, _SOURCE_OFFSET), (destination, _DESTINATION_OFFSET))
        if network.prefixlen
    ]


def _has_root(routes: IPRoute, index: int) -> bool:
    return any(queue["handle"] == _ROOT for queue in routes.get_qdiscs(index=index))


def _is_delayed(routes: IPRoute, line: Line) -> bool:
    return any(
        queue["parent"] == line.handle and queue.get_attr("TCA_KIND") == "netem"
        for queue in routes.get_qdiscs(index=line.index)
    )


def _lines(routes: IPRoute, index: int) -> dict[int, int]:
    """Numbers of the lines of an interface, and their rates in bytes per second."""
    if not _has_root(routes, index):
        return {}
    return {
        each["handle"] - _ROOT: each.get_attr("TCA_OPTIONS").get_attr("TCA_HTB_PARMS")["rate"]
        for each in routes.get_classes(index)
    }


@contextmanager
def _told(part: str) -> Iterator[None]:
    """The kernel's refusal, with the reason when it lacks the part."""
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.ENOENT:
            raise OSError(errno.EOPNOTSUPP, f"this kernel is built without {part}") from error
        raise OSError(error.code, f"{part}: {error}") from error
