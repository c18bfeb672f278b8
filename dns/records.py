"""DNS records and answers as plain values: what `answers` decides and `wire` writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from petset.dns.names import Name


class Type(IntEnum):
    """The record types that this server knows by name (IANA DNS parameters)."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252


class Rcode(IntEnum):
    """How a query ended. BADVERS needs EDNS: its upper bits travel in the OPT record."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class A:
    type: ClassVar[Type] = Type.A
    address: str


@dataclass(frozen=True, slots=True)
class AAAA:
    type: ClassVar[Type] = Type.AAAA
    address: str


@dataclass(frozen=True, slots=True)
class SRV:
    type: ClassVar[Type] = Type.SRV
    priority: int
    weight: int
    port: int
    target: Name


@dataclass(frozen=True, slots=True)
class PTR:
    type: ClassVar[Type] = Type.PTR
    target: Name


@dataclass(frozen=True, slots=True)
class CNAME:
    type: ClassVar[Type] = Type.CNAME
    target: Name


@dataclass(frozen=True, slots=True)
class NS:
    type: ClassVar[Type] = Type.NS
    target: Name


@dataclass(frozen=True, slots=True)
class TXT:
    """One character string of at most 255 bytes."""

    type: ClassVar[Type] = Type.TXT
    text: str


@dataclass(frozen=True, slots=True)
class SOA:
    type: ClassVar[Type] = Type.SOA
    name_server: Name
    mailbox: Name
    serial: int
    refresh_seconds: int
    retry_seconds: int
    expire_seconds: int
    minimum_seconds: int


Data = A | AAAA | SRV | PTR | CNAME | NS | TXT | SOA


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record of class IN."""

    name: Name
    ttl_seconds: int
    data: Data


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole outcome of one (name, type). `authoritative` is the AA flag."""

    rcode: Rcode
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True
