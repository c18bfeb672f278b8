"""Drops packets in one network namespace, by address: nftables over netlink, without the `nft` program.

    table `petset-faults` (ip)      KIND-forward      packets that this namespace routes
                                    KIND-input        packets for this namespace itself
                                    KIND-output       packets of its own
                                    KIND-prerouting   packets as they arrive, still with a cluster IP
    table `petset-faults` (bridge)  KIND-forward      packets between two ports of one of its bridges

A rule drops packets that `Packets` describes, all of them or a random share. A packet meets a rule once: where the
kernel shows bridged packets to the ip family too (br_netfilter), the bridge's own chain stays empty. Rules of one
`kind` know nothing of another's; they are found again by what they say, so whoever opens the firewall of a namespace
later can take back what another has put there. Not to be used on a thread with a running event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network
from typing import Any, NamedTuple

from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_GETRULE, nft_rule_msg
from pyroute2.nftables.expressions import genex, verdict
from pyroute2.nftables.main import NFTables

from petset.cluster.network import nft
from petset.cluster.network.crossings import Packets
from petset.cluster.network.netlink import open_tables

TABLE = "petset-faults"

_ALL_FAMILIES, _IP_FAMILY, _BRIDGE_FAMILY = 0, 2, 7
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3}
_BEFORE_TRANSLATION = -300
_DROP, _ACCEPT = 0, 1
_IN_RANGE, _NOT_IN_RANGE = 0, 1
_LESS = 2
_RANDOM = 1
_TO_NETWORK_ORDER = 1
_SHARES = 2**16


class _Rule(NamedTuple):
    """A rule as it is in the kernel; `said` are the addresses that it asks for."""

    family: int
    chain: str
    handle: int
    said: list[Any]


@contextmanager
def open_firewall(kind: str) -> Iterator[Firewall]:
    """Of this thread's network namespace."""
    with open_tables(_ALL_FAMILIES) as tables:
        yield Firewall(kind, tables)


class Firewall:
    """The rules of one `kind` in this thread's network namespace, which outlive it.

    What it is told happens at once or, with an OSError, not at all.
    """

    def __init__(self, kind: str, tables: NFTables) -> None:
        self._kind = kind
        self._tables = tables

    def drop(self, packets: Sequence[Packets], share: float = 1.0) -> None:
        """Drop packets; `share`: of how many, 0 to 1. Replaces rules about the same packets."""
        chance = _by_chance(share) if share < 1.0 else []
        places = [(family, hook, each) for each in packets for family, hook in _places(each)]
        steps = [*self._chains((family, hook) for family, hook, _ in places), *self._removals(packets)]
        for family, hook, each in places:
            expressions = [*_match(each), *chance, *verdict(_DROP)]
            steps.append(_step(family, "new rule", chain=f"{self._kind}-{hook}", expressions=expressions))
        nft.transact(self._tables, steps)

    def take_back(self, packets: Sequence[Packets]) -> None:
        """Let packets pass again, as `drop` was told."""
        if removals := list(self._removals(packets)):
            nft.transact(self._tables, removals)

    def _chains(self, places: Iterable[tuple[int, str]]) -> Iterator[nft.Message]:
        wanted = dict.fromkeys(places)
        for family in dict.fromkeys(family for family, _ in wanted):
            yield _step(family, "new table", name=TABLE)
        for family, hook in wanted:
            priority = _BEFORE_TRANSLATION if hook == "prerouting" else 0
            where = {"attrs": [["NFTA_HOOK_HOOKNUM", _HOOKS[hook]], ["NFTA_HOOK_PRIORITY", priority]]}
            yield _step(
                family, "new chain", name=f"{self._kind}-{hook}", hook=where, type="filter", policy=_ACCEPT
            )  # fmt: skip

    def _removals(self, packets: Sequence[Packets]) -> Iterator[nft.Message]:
        said = [_said_by(_match(each)) for each in packets]
        for rule in self._rules():
            if rule.chain.startswith(f"{self._kind}-") and rule.said in said:
                yield _step(rule.family, "delete rule", chain=rule.chain, handle=rule.handle)

    def _rules(self) -> Iterator[_Rule]:
        asked = nft_rule_msg()
        asked["attrs"] = [("NFTA_RULE_TABLE", TABLE)]  # not the many of services
        for rule in self._tables.request_get(asked, NFT_MSG_GETRULE):
            if rule.get_attr("NFTA_RULE_TABLE") == TABLE:
                said = _said_by(rule.get_attr("NFTA_RULE_EXPRESSIONS"))
                handle = int(rule.get_attr("NFTA_RULE_HANDLE"))
                yield _Rule(int(rule["nfgen_family"]), rule.get_attr("NFTA_RULE_CHAIN"), handle, said)


def forget_rules() -> None:
    """Let everything pass again in this thread's network namespace, rules of every kind. Raises OSError."""
    with open_tables(_ALL_FAMILIES) as tables:
        steps = ("new table", "delete table")  # removing one that is not there would be an error
        nft.transact(
            tables, [_step(family, step, name=TABLE) for family in (_IP_FAMILY, _BRIDGE_FAMILY) for step in steps]
        )


def _step(family: int, what: str, **attributes: Any) -> nft.Message:
    made = nft.message(what, **attributes if "table" in what else {"table": TABLE, **attributes})
    made["nfgen_family"] = family
    return made


def _places(packets: Packets) -> list[tuple[int, str]]:
    places = [(_IP_FAMILY, hook) for hook in packets.hooks]
    if "forward" in packets.hooks and not nft.bridges_show_ip():
        places.append((_BRIDGE_FAMILY, "forward"))
    return places


def _match(packets: Packets) -> list[nft.Expression]:
    source, destination = nft.source_address(nft.R0), nft.destination_address(nft.R0)
    spared = [each for network in packets.not_from for each in (source, _ranged(network, _NOT_IN_RANGE))]
    return [source, _ranged(packets.source, _IN_RANGE), destination, _ranged(packets.destination, _IN_RANGE), *spared]


def _ranged(network: IPv4Network, operation: int) -> nft.Expression:
    """The address in the register is one of the network's, or is not."""
    first, last = (
        {"attrs": [("NFTA_DATA_VALUE", address.packed)]}
        for address in (network.network_address, network.broadcast_address)
    )
    return genex("range", {"sreg": nft.R0, "op": operation, "from_data": first, "to_data": last})


def _by_chance(share: float) -> list[Any]:
    """True for this share of all packets."""
    number = {"DREG": nft.R0, "MODULUS": _SHARES, "TYPE": _RANDOM, "OFFSET": 0}
    draw = {  # not genex: the attributes of `numgen` begin with NG
        "attrs": [
            ("NFTA_EXPR_NAME", "numgen"),
            ("NFTA_EXPR_DATA", {"attrs": [(f"NFTA_NG_{name}", value) for name, value in number.items()]}),
        ]
    }
    turn = {"sreg": nft.R0, "dreg": nft.R0, "op": _TO_NETWORK_ORDER, "len": 4, "size": 4}
    limit = {"attrs": [("NFTA_DATA_VALUE", round(share * _SHARES).to_bytes(4, "big"))]}
    return [draw, genex("byteorder", turn), genex("cmp", {"sreg": nft.R0, "op": _LESS, "data": limit})]


def _said_by(expressions: list[Any]) -> list[tuple[int, bool, bytes, bytes]]:
    """Which addresses a rule asks for: the same for a rule that is written and one that is read."""
    said: list[tuple[int, bool, bytes, bytes]] = []
    offset = 0
    for expression in expressions:
        name, data = (value for _, value in expression["attrs"])
        values = dict(data["attrs"])
        if name == "payload":
            offset = values["NFTA_PAYLOAD_OFFSET"]
        elif name == "range":
            first, last = (bytes(values[f"NFTA_RANGE_{end}_DATA"]["attrs"][0][1]) for end in ("FROM", "TO"))
            said.append((offset, values["NFTA_RANGE_OP"] in (_IN_RANGE, "NFT_RANGE_EQ"), first, last))
    return said
