"""Name servers outside of the cluster, as a setting writes them: `192.0.2.1,192.0.2.2:5353`, or `host`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

DNS_PORT = 53
HOST = "host"
"""Stands for the name servers of this machine's resolv.conf."""

_NAMESERVER = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Upstream:
    """A name server to ask."""

    address: str
    port: int = DNS_PORT


def configured_upstreams(text: str, resolv_conf: Path) -> tuple[Upstream, ...]:
    """The name servers of a setting, in their order; "" is none.

    Raises ValueError for what is no address, OSError when there is no such file.
    """
    found: list[Upstream] = []
    for each in filter(None, text.split(",")):
        texts = _NAMESERVER.findall(resolv_conf.read_text()) if each == HOST else [each]
        found += map(_read, texts)
    return tuple(found)


def check_upstreams(text: str) -> None:
    """Raises ValueError for a setting that names no name servers; reads no file."""
    for each in filter(None, text.split(",")):
        if each != HOST:
            _read(each)


def _read(text: str) -> Upstream:
    address, _, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    try:
        return Upstream(str(ip_address(address)), int(port or DNS_PORT))
    except ValueError:
        raise ValueError(f"DNS upstream {text!r}: give an address, or address:port for IPv4") from None
