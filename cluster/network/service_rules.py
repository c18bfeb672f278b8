"""Services in the kernel: nftables rules of one node that send connections for a service to one of its endpoints.

    table `petset-services`
      chains `prerouting`, `output`    (address, protocol, port) ──map `frontends`──▶ a chain per frontend
      chain `tcp 10.96.0.7:80`         the next number in turn ──map──▶ 10.244.1.2:8080          (the usual one)
                                       the client ──map `affinity …`──▶ the endpoint it had, if that is still one
                                                   └ else the next in turn, and remember it        (ClientIP affinity)
      chain `postrouting`              whose answer would not come back this way gets this node's own address

The kernel remembers each connection (connection tracking): only its first packet comes to these chains, and it goes on
when its endpoint leaves. UDP flows of an endpoint that left are ended, as kube-proxy ends them. Frontends are changed
in transactions, one of them or many: no packet sees one half done. An address without a frontend is this machine's own
and nobody listens there: refused at once.

Pods see their clients' own addresses, apart from: a pod that reaches itself; clients on the node itself; node ports
and load balancers with externalTrafficPolicy Cluster; and, where bridges do not call netfilter, pods of one node.

Whoever opens the rules of a node begins with none. Netlink: not for a thread with a running event loop.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from typing import Self

from pyroute2.nftables.main import NFTables

from petset.cluster.network import nft
from petset.cluster.network.connections import Place, UdpFlows
from petset.cluster.network.netlink import open_tables

TABLE = "petset-services"
MAX_REMEMBERED = 65_535
"""Clients with affinity to an endpoint of one frontend; another one is balanced as if it had none."""

_FRONTENDS, _HAIRPINS = "frontends", "hairpins"
_PREROUTING, _OUTPUT, _POSTROUTING = 0, 3, 4
_DESTINATION_PRIORITY, _SOURCE_PRIORITY = -100, 100
_HIDE_CLIENT = (0x4000).to_bytes(4, sys.byteorder)
"""kube-proxy's masquerade mark."""
_FRONTEND_KEY_BYTES = 12
_PLACE_BYTES = 8
_ELEMENTS_AT_ONCE = 500
"""What one message holds with room to spare: the kernel's limit is 64 KiB."""
_ADD, _RENEW, _REMOVE = 0, 1, 2
_PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}

NOWHERE: Place = ("0.0.0.0", 0)
"""Asked for the flows to it, the kernel says whether it can tell of any."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where clients connect to; `protocol` is TCP or UDP."""

    address: str
    port: int
    protocol: str

    @property
    def chain(self) -> str:
        return f"{self.protocol.lower()} {self.address}:{self.port}"

    @property
    def affinity(self) -> str:
        return f"affinity {self.chain}"

    @property
    def key(self) -> bytes:
        number = _PROTOCOLS[self.protocol].to_bytes(1, "big")
        return IPv4Address(self.address).packed + _padded(number) + _padded(self.port.to_bytes(2, "big"))


@dataclass(frozen=True, slots=True)
class Way:
    """Where a frontend leads: to these targets in turn, at least one.

    `affinity_seconds`: how long a silent client keeps its target; another value forgets who has which.
    `hides_clients`: targets see this node's address, so that answers come back through it.
    """

    targets: tuple[Place, ...]
    affinity_seconds: int = 0
    hides_clients: bool = False


class ServiceRules:
    """The rules of a network namespace; made by `open`."""

    def __init__(self, tables: NFTables, flows: UdpFlows, *, services: IPv4Network, pods: IPv4Network) -> None:
        self._tables = tables
        self._flows = flows
        self._services = services
        self._pods = pods
        self._affinity_seconds: dict[Front, int] = {}
        """Of every frontend that there is."""

    @classmethod
    @contextmanager
    def open(cls, *, services: IPv4Network, pods: IPv4Network) -> Iterator[Self]:
        """Those of this thread's network namespace. `services`: where cluster IPs are, `pods`: the range of this
        node's pods. What is closed leaves its rules in force, as kube-proxy does. Raises OSError where the kernel
        cannot translate addresses or track connections."""
        with open_tables(nft.IPV4) as tables, UdpFlows.open() as flows:
            rules = cls(tables, flows, services=services, pods=pods)
            nft.transact(tables, rules._foundations())
            flows.end({NOWHERE: ()})
            yield rules

    def change(self, ways: Mapping[Front, Way | None]) -> None:
        """Send further connections these ways; None: answer no longer, connections go on. Raises OSError: nothing
        changed."""
        ids = count(1)
        steps = [step for front, way in ways.items() for step in self._steps(front, way, ids)]
        if steps:
            nft.transact(self._tables, steps)
        for front, way in ways.items():
            if way is None:
                self._affinity_seconds.pop(front, None)
            else:
                self._affinity_seconds[front] = way.affinity_seconds
        if flows := {(f.address, f.port): way.targets if way else () for f, way in ways.items() if f.protocol == "UDP"}:
            self._flows.end(flows)

    def _steps(self, front: Front, way: Way | None, ids: Iterator[int]) -> Iterator[nft.Message]:
        """From what there is to what is wanted; `ids` are the numbers of sets within the transaction."""
        is_new, before = front not in self._affinity_seconds, self._affinity_seconds.get(front, 0)
        flush = nft.message("delete rule", table=TABLE, chain=front.chain)
        if way is None:
            if not is_new:
                yield nft.elements("delete elements", TABLE, _FRONTENDS, [(front.key, None)])
                yield flush
                yield nft.message("delete chain", table=TABLE, name=front.chain)
                yield from _change_affinity(front, before, 0, id=next(ids))
            return
        if is_new:
            yield nft.message("new chain", table=TABLE, name=front.chain)
        yield flush
        if before != way.affinity_seconds:
            yield from _change_affinity(front, before, way.affinity_seconds, id=next(ids))
        yield from _rules(front, way, turns=next(ids), known=next(ids))
        if is_new:
            yield nft.elements("new elements", TABLE, _FRONTENDS, [(front.key, front.chain)])

    def _foundations(self) -> Iterator[nft.Message]:
        """A table of our own with nothing in it but the ways in and out."""
        yield nft.message("new table", name=TABLE)
        yield nft.message("delete table", name=TABLE)
        yield nft.message("new table", name=TABLE)
        yield nft.new_set(TABLE, _FRONTENDS, key_bytes=_FRONTEND_KEY_BYTES, flags={nft.MAP}, id=1)
        yield nft.new_set(TABLE, _HAIRPINS, key_bytes=_PLACE_BYTES, flags=set(), id=2)
        yield nft.elements("new elements", TABLE, _HAIRPINS, ((each.packed * 2, None) for each in self._pods.hosts()))
        entry = [
            nft.destination_address(nft.R0),
            nft.transport_protocol(nft.R1),
            nft.destination_port(nft.R2),
            nft.look_up(_FRONTENDS, nft.R0, into=nft.VERDICT),
        ]
        for name, number in (("prerouting", _PREROUTING), ("output", _OUTPUT)):
            yield nft.base_chain(TABLE, name, number=number, priority=_DESTINATION_PRIORITY)
            yield _rule(name, entry)
        yield nft.base_chain(TABLE, "postrouting", number=_POSTROUTING, priority=_SOURCE_PRIORITY)
        for hidden in self._hidden():
            yield _rule("postrouting", [*hidden, nft.masquerade()])

    def _hidden(self) -> Iterator[list[nft.Expression]]:
        """Whose address must not be seen, because answers to it would not come back through this node."""
        yield [nft.load_mark(nft.R0), nft.masked(nft.R0, _HIDE_CLIENT), nft.equal(nft.R0, _HIDE_CLIENT)]
        # Connections of the node itself: it takes the service's own address for their source.
        yield [
            nft.source_address(nft.R0),
            nft.masked(nft.R0, self._services.netmask.packed),
            nft.equal(nft.R0, self._services.network_address.packed),
        ]
        yield [nft.source_address(nft.R0), nft.destination_address(nft.R1), nft.look_up(_HAIRPINS, nft.R0)]
        if not nft.bridges_show_ip():
            # Two pods of one bridge answer each other directly.
            mask, network = self._pods.netmask.packed, self._pods.network_address.packed
            yield [
                nft.source_address(nft.R0), nft.masked(nft.R0, mask), nft.equal(nft.R0, network),
                nft.destination_address(nft.R0), nft.masked(nft.R0, mask), nft.equal(nft.R0, network),
            ]  # fmt: skip


def _rules(front: Front, way: Way, *, turns: int, known: int) -> Iterator[nft.Message]:
    """The chain of a frontend, and the maps that it looks into, which have these ids."""
    places = [IPv4Address(address).packed + _padded(port.to_bytes(2, "big")) for address, port in way.targets]
    numbered = ((number.to_bytes(4, sys.byteorder), place) for number, place in enumerate(places))
    yield from _anonymous(turns, numbered, is_map=True)
    mark = [nft.constant(nft.R0, _HIDE_CLIENT), nft.store_mark(nft.R0)] if way.hides_clients else []
    memory: list[nft.Expression] = []
    if way.affinity_seconds:
        yield from _anonymous(known, ((place, None) for place in places), is_map=False)
        recall = [
            nft.source_address(nft.R0),
            nft.look_up(front.affinity, nft.R0, into=nft.R4),
            nft.look_up("__set%d", nft.R4, id=known),
            nft.remember(_RENEW, front.affinity, nft.R0, data=nft.R4),
        ]
        yield _rule(front.chain, [*mark, *recall, nft.send_to(nft.R4, nft.R5)])
        memory = [
            nft.source_address(nft.R0),
            nft.remember(_REMOVE, front.affinity, nft.R0, data=nft.R4),
            nft.remember(_ADD, front.affinity, nft.R0, data=nft.R4),
        ]
    choice = [nft.in_turn(nft.R1, len(places)), nft.look_up("__map%d", nft.R1, into=nft.R4, id=turns)]
    yield _rule(front.chain, [*mark, *choice, *memory, nft.send_to(nft.R4, nft.R5)])


def _change_affinity(front: Front, before_seconds: int, seconds: int, *, id: int) -> Iterator[nft.Message]:
    """Forget which client has which target; and, with seconds, begin to remember."""
    if before_seconds:
        yield nft.message("delete set", table=TABLE, name=front.affinity)
    if seconds:
        yield nft.new_set(
            TABLE, front.affinity, key_bytes=nft.REGISTER_BYTES, data_bytes=_PLACE_BYTES, timeout_seconds=seconds,
            flags={nft.MAP, nft.TIMEOUT, nft.DYNAMIC}, max_elements=MAX_REMEMBERED, id=id,
        )  # fmt: skip


def _anonymous(id: int, pairs: Iterable[tuple[bytes, bytes | None]], *, is_map: bool) -> Iterator[nft.Message]:
    """A constant set or map that belongs to the rule which looks into it, and ends with it."""
    flags = {nft.ANONYMOUS, nft.CONSTANT} | ({nft.MAP} if is_map else set())
    name, key_bytes, data_bytes = ("__map%d", 4, _PLACE_BYTES) if is_map else ("__set%d", _PLACE_BYTES, 0)
    yield nft.new_set(TABLE, name, key_bytes=key_bytes, data_bytes=data_bytes, flags=flags, id=id)
    kept = list(pairs)
    for start in range(0, len(kept), _ELEMENTS_AT_ONCE):
        yield nft.elements("new elements", TABLE, name, kept[start : start + _ELEMENTS_AT_ONCE], id=id)


def _rule(chain: str, expressions: list[nft.Expression]) -> nft.Message:
    return nft.message("new rule", table=TABLE, chain=chain, expressions=expressions)


def _padded(field: bytes) -> bytes:
    return field.ljust(nft.REGISTER_BYTES, b"\0")
