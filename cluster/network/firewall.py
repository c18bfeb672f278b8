"""Drops packets in one network namespace, by address: nftables over netlink, without the `nft` program.

    table `petset` (ip)      chain `forward`   packets that this namespace routes
                             chain `input`     packets for this namespace itself
    table `petset` (bridge)  chain `forward`   packets between two ports of one of its bridges

A rule drops packets from a source to a destination, all of them or a random share; the other way round is a rule of
its own. Rules are found again by what they say, so whoever opens the firewall of a namespace later can take back what
another has put there. Not to be used on a thread with a running event loop.
"""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import IPv4Network
from types import TracebackType
from typing import Any, Self

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.nftables.expressions import genex, verdict

from petset.cluster.network.netlink import open_tables

TABLE = "petset"

_IP_FAMILY, _BRIDGE_FAMILY = 2, 7
_CHAINS = ((_IP_FAMILY, "forward"), (_IP_FAMILY, "input"), (_BRIDGE_FAMILY, "forward"))
_DROP, _ACCEPT = 0, 1
_REGISTER = 1
_NETWORK_HEADER = 1
_SOURCE_OFFSET, _DESTINATION_OFFSET = 12, 16
_EQUAL, _LESS = 0, 2
_RANDOM = 1
_TO_NETWORK_ORDER = 1
_SHARES = 2**16


class Firewall:
    """The firewall of this thread's network namespace. `with` opens it; closing it leaves the rules in place."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._tables = {
            family: self._open.enter_context(open_tables(family)) for family in (_IP_FAMILY, _BRIDGE_FAMILY)
        }

    def __enter__(self) -> Self:
        """Raises OSError where the kernel has no nftables."""
        try:
            for table in self._tables.values():
                table.table("add", name=TABLE)
            for family, chain in _CHAINS:
                self._tables[family].chain("add", table=TABLE, name=chain, hook=chain, type="filter", policy=_ACCEPT)
        except NetlinkError as error:
            self._open.close()
            raise OSError(error.code, f"nftables: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def drop(self, source: IPv4Network, destination: IPv4Network, share: float = 1.0) -> None:
        """Drop packets from `source` to `destination`; `share`: of how many, 0 to 1. Raises OSError.

        Replaces a rule about the same packets. Prefixes must be whole bytes (/8, /16, /24, /32).
        """
        self.take_back(source, destination)
        match = _from_to(source, destination)
        chance = _by_chance(share) if share < 1.0 else []
        for family, chain in _CHAINS:
            self._ask(family, "add", chain, expressions=(match, chance, verdict(_DROP)))

    def take_back(self, source: IPv4Network, destination: IPv4Network) -> None:
        """Let packets from `source` to `destination` pass again. Raises OSError."""
        said = _said_by(_from_to(source, destination))
        for family, chain in _CHAINS:
            for handle, addresses in self._rules(family, chain):
                if addresses == said:
                    self._ask(family, "del", chain, handle=handle)

    def take_back_all(self) -> None:
        """Let everything pass again. Raises OSError."""
        for family, chain in _CHAINS:
            for handle, _ in self._rules(family, chain):
                self._ask(family, "del", chain, handle=handle)

    def _rules(self, family: int, chain: str) -> list[tuple[int, list[Any]]]:
        """The handle of every rule, and the addresses that it compares with."""
        found = []
        for rule in self._tables[family].get_rules():
            where = (rule.get("nfgen_family"), rule.get_attr("NFTA_RULE_TABLE"), rule.get_attr("NFTA_RULE_CHAIN"))
            if where == (family, TABLE, chain):
                said = _said_by(rule.get_attr("NFTA_RULE_EXPRESSIONS"))
                found.append((int(rule.get_attr("NFTA_RULE_HANDLE")), said))
        return found

    def _ask(self, family: int, command: str, chain: str, **what: Any) -> None:
        try:
            self._tables[family].rule(command, table=TABLE, chain=chain, **what)
        except NetlinkError as error:
            raise OSError(error.code, f"nftables: {error}") from error


def _from_to(source: IPv4Network, destination: IPv4Network) -> list[Any]:
    return [*_address_is(_SOURCE_OFFSET, source), *_address_is(_DESTINATION_OFFSET, destination)]


def _address_is(offset: int, network: IPv4Network) -> list[Any]:
    """The first bytes at this offset of the IP header are the network's prefix."""
    if network.prefixlen % 8 or not network.prefixlen:
        raise ValueError(f"{network}: the prefix must be a number of whole bytes")
    size = network.prefixlen // 8
    load = {"dreg": _REGISTER, "base": _NETWORK_HEADER, "offset": offset, "len": size}
    return [genex("payload", load), _compare(_EQUAL, network.network_address.packed[:size])]


def _by_chance(share: float) -> list[Any]:
    """True for this share of all packets."""
    number = {"DREG": _REGISTER, "MODULUS": _SHARES, "TYPE": _RANDOM, "OFFSET": 0}
    draw = {  # not genex: the attributes of `numgen` begin with NG
        "attrs": [
            ("NFTA_EXPR_NAME", "numgen"),
            ("NFTA_EXPR_DATA", {"attrs": [(f"NFTA_NG_{name}", value) for name, value in number.items()]}),
        ]
    }
    turn = {"sreg": _REGISTER, "dreg": _REGISTER, "op": _TO_NETWORK_ORDER, "len": 4, "size": 4}
    return [draw, genex("byteorder", turn), _compare(_LESS, round(share * _SHARES).to_bytes(4, "big"))]


def _compare(operation: int, value: bytes) -> Any:
    data = {"attrs": [("NFTA_DATA_VALUE", value)]}
    return genex("cmp", {"sreg": _REGISTER, "op": operation, "data": data})


def _said_by(expressions: list[Any]) -> list[tuple[int, bytes]]:
    """Which header bytes a rule compares with what: the same for a rule that is written and one that is read."""
    offsets: list[int] = []
    said: list[tuple[int, bytes]] = []
    for expression in expressions:
        name, data = (value for _, value in expression["attrs"])
        values = dict(data["attrs"])
        if name == "payload":
            offsets.append(values["NFTA_PAYLOAD_OFFSET"])
        elif name == "cmp" and len(said) < len(offsets):
            said.append((offsets[-1], bytes(values["NFTA_CMP_DATA"]["attrs"][0][1])))
    return said
