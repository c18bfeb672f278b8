"""What nftables rules are made of, and the transactions that change them: a thin layer over pyroute2's messages.

    transaction:  begin │ new set │ its elements │ new rule │ … │ commit       all of it is in force at once, or nothing

A rule is a list of expressions that hand each other values in registers: four bytes each, R0 to R15; a key of several
fields lies in registers that follow one another. Only what this project needs. Not for a thread with a running event
loop (netlink.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg
from pyroute2.netlink.nfnetlink import nftsocket as protocol
from pyroute2.nftables.main import NFTables

IPV4 = 2
VERDICT = 0
R0, R1, R2, R3, R4, R5 = range(8, 14)
"""Registers; VERDICT is the one that decides."""
REGISTER_BYTES = 4
GOTO = -4
MAP, TIMEOUT, DYNAMIC, ANONYMOUS, CONSTANT = (
    "NFT_SET_MAP", "NFT_SET_TIMEOUT", "NFT_SET_EVAL", "NFT_SET_ANONYMOUS", "NFT_SET_CONSTANT"
)  # fmt: skip

_BRIDGES_SHOW_IP = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_BEGIN, _COMMIT = 0x10, 0x11
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_MARK, _META_PROTOCOL = 3, 16
_EQUAL = 0
_INCREMENTAL = 0
_DESTINATION_NAT = 1
_VERDICT_TYPE = 0xFFFFFF00
_ANY_TYPE = 0
_MESSAGES = {
    "new table": (protocol.NFT_MSG_NEWTABLE, protocol.nft_table_msg),
    "delete table": (protocol.NFT_MSG_DELTABLE, protocol.nft_table_msg),
    "new chain": (protocol.NFT_MSG_NEWCHAIN, protocol.nft_chain_msg),
    "delete chain": (protocol.NFT_MSG_DELCHAIN, protocol.nft_chain_msg),
    "new rule": (protocol.NFT_MSG_NEWRULE, protocol.nft_rule_msg),
    "delete rule": (protocol.NFT_MSG_DELRULE, protocol.nft_rule_msg),
    "new set": (protocol.NFT_MSG_NEWSET, protocol.nft_set_msg),
    "delete set": (protocol.NFT_MSG_DELSET, protocol.nft_set_msg),
    "new elements": (protocol.NFT_MSG_NEWSETELEM, protocol.nft_set_elem_list_msg),
    "delete elements": (protocol.NFT_MSG_DELSETELEM, protocol.nft_set_elem_list_msg),
}

Message = Any
Expression = Any


def transact(tables: NFTables, messages: Iterable[Message]) -> None:
    """Carry out all of these, or none. Raises OSError with the kernel's reason."""
    try:
        tables.nlm_request_batch([_bracket(_BEGIN), *messages, _bracket(_COMMIT)])
    except NetlinkError as error:
        raise OSError(error.code, f"nftables: {error}") from error


def bridges_show_ip() -> bool:
    """Whether packets between two ports of a bridge pass the ip family's chains as well, in this namespace."""
    try:
        return _BRIDGES_SHOW_IP.read_text().strip() == "1"
    except OSError:  # the kernel part that would do it is not there
        return False


def message(what: str, **attributes: Any) -> Message:
    """One step of a transaction, such as `new chain`; attributes are the kernel's, in lower case, without a prefix."""
    kind, shape = _MESSAGES[what]
    made = shape()
    made["attrs"] = [[shape.name2nla(name), value] for name, value in attributes.items()]
    made["header"]["type"] = NFNL_SUBSYS_NFTABLES << 8 | kind
    creates = NLM_F_CREATE | NLM_F_APPEND if what.startswith("new") else 0
    made["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | creates
    made["nfgen_family"] = IPV4
    return made


def base_chain(table: str, name: str, *, number: int, priority: int) -> Message:
    """A chain that packets enter by themselves, at the hook of this number, for address translation."""
    hook = {"attrs": [["NFTA_HOOK_HOOKNUM", number], ["NFTA_HOOK_PRIORITY", priority]]}
    return message("new chain", table=table, name=name, hook=hook, type="nat", policy=1)


def new_set(
    table: str, name: str, *, key_bytes: int, flags: set[str], id: int, data_bytes: int = 0,
    timeout_seconds: int = 0, max_elements: int = 0,
) -> Message:  # fmt: skip
    """A set, or with MAP a map, whose values are verdicts unless they have `data_bytes`; `id` is the transaction's."""
    attributes: dict[str, Any] = {"table": table, "name": name, "flags": flags, "key_type": _ANY_TYPE}
    attributes |= {"key_len": key_bytes, "id": id}
    if MAP in flags:
        attributes |= {"data_type": _ANY_TYPE, "data_len": data_bytes} if data_bytes else {"data_type": _VERDICT_TYPE}
    if timeout_seconds:
        attributes["timeout"] = timeout_seconds * 1000
    if max_elements:
        attributes["desc"] = {"attrs": [["NFTA_SET_DESC_SIZE", max_elements]]}
    return message("new set", **attributes)


def elements(what: str, table: str, name: str, pairs: Iterable[tuple[bytes, Any]], *, id: int = 0) -> Message:
    """`new elements` or `delete elements` of a set: (key, None), of a map (key, its value's bytes or `goto` chain)."""
    made = []
    for key, value in pairs:
        attributes: list[Any] = [["NFTA_SET_ELEM_KEY", _data(key)]]
        if isinstance(value, bytes):
            attributes.append(["NFTA_SET_ELEM_DATA", _data(value)])
        elif value is not None:
            verdict = {"attrs": [["NFTA_VERDICT_CODE", GOTO], ["NFTA_VERDICT_CHAIN", value]]}
            attributes.append(["NFTA_SET_ELEM_DATA", {"attrs": [["NFTA_DATA_VERDICT", verdict]]}])
        made.append({"attrs": attributes})
    return message(what, table=table, set=name, elements=made, **({"set_id": id} if id else {}))


def source_address(register: int, size: int = 4) -> Expression:
    return _payload(register, _NETWORK_HEADER, 12, size)


def destination_address(register: int, size: int = 4) -> Expression:
    return _payload(register, _NETWORK_HEADER, 16, size)


def destination_port(register: int) -> Expression:
    return _payload(register, _TRANSPORT_HEADER, 2, 2)


def transport_protocol(register: int) -> Expression:
    return _expression("meta", "META", key=_META_PROTOCOL, dreg=register)


def load_mark(register: int) -> Expression:
    """The packet's mark, which lives as long as the packet is on this machine."""
    return _expression("meta", "META", key=_META_MARK, dreg=register)


def store_mark(register: int) -> Expression:
    return _expression("meta", "META", key=_META_MARK, sreg=register)


def constant(register: int, value: bytes) -> Expression:
    return _expression("immediate", "IMMEDIATE", dreg=register, data=_data(value))


def equal(register: int, value: bytes) -> Expression:
    """The rule goes on only if the register holds this."""
    return _expression("cmp", "CMP", sreg=register, op=_EQUAL, data=_data(value))


def masked(register: int, mask: bytes) -> Expression:
    nothing = bytes(len(mask))
    return _expression(
        "bitwise", "BITWISE", sreg=register, dreg=register, len=len(mask), mask=_data(mask), xor=_data(nothing)
    )


def in_turn(register: int, modulus: int) -> Expression:
    """0, 1, … modulus - 1, 0, …: the next number at each packet that comes by; four bytes in the machine's order."""
    return _expression("numgen", "NG", dreg=register, modulus=modulus, type=_INCREMENTAL, offset=0)


def look_up(name: str, key: int, *, into: int | None = None, id: int = 0) -> Expression:
    """The rule goes on only if the set has the key; `into`: where a map's value goes, VERDICT to follow it."""
    more: dict[str, Any] = {} if into is None else {"dreg": into}
    return _expression("lookup", "LOOKUP", set=name, sreg=key, **more, **({"set_id": id} if id else {}))


def remember(operation: int, name: str, key: int, *, data: int | None = None) -> Expression:
    """Change a DYNAMIC map by a packet: 0 adds, 1 adds or renews the timeout, 2 removes."""
    more: dict[str, Any] = {} if data is None else {"sreg_data": data}
    return _expression("dynset", "DYNSET", set_name=name, op=operation, sreg_key=key, **more)


def send_to(address: int, port: int) -> Expression:
    """Translate the destination to what is in these registers."""
    return _expression("nat", "NAT", type=_DESTINATION_NAT, family=IPV4, reg_addr_min=address, reg_proto_min=port)


def masquerade() -> Expression:
    """Translate the source to this machine's own address."""
    return _expression("masq", "MASQ")


def _payload(register: int, base: int, offset: int, size: int) -> Expression:
    return _expression("payload", "PAYLOAD", dreg=register, base=base, offset=offset, len=size)


def _expression(name: str, prefix: str, **attributes: Any) -> Expression:
    data = {"attrs": [(f"NFTA_{prefix}_{key.upper()}", value) for key, value in attributes.items()]}
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", data)]}


def _data(value: bytes) -> Any:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


def _bracket(kind: int) -> Message:
    made = nfgen_msg()
    made["res_id"] = NFNL_SUBSYS_NFTABLES
    made["header"]["type"] = kind
    made["header"]["flags"] = NLM_F_REQUEST
    return made
