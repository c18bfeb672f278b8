"""dig and nslookup, small: they ask the pod's name server and print what it answers, in the originals' form.

    dig [@server] [-p port] [-x address] [-t type] [+short] [+search] name [type]
    nslookup [-type=type] name [server]

dig asks for the name as it is (as the original does without +search), nslookup goes through the search list. The
configuration is $PET_RESOLV_CONF, or /etc/resolv.conf (resolver.py). Exit codes: 0 for any answer of dig, 9 for
silence; nslookup answers 1 when there is no such name.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import SystemRandom

from dnslib import QTYPE, RCODE, RR, DNSRecord

from petset.petapp.dns_exchange import LookupFailure, Question, Server, exchange
from petset.petapp.resolver import ResolvConf, Resolver, read_resolv_conf

SILENCE_EXIT_CODE = 9
_TYPES = frozenset(("A", "AAAA", "SRV", "CNAME", "NS", "SOA", "PTR", "TXT", "MX", "ANY"))
_NAME_COLUMNS = 24


@dataclass
class DigOptions:
    """What dig was told."""

    name: str = "."
    type: str = "A"
    server: str = ""
    port: int = 0
    short: bool = False
    search: bool = False


def dig(arguments: list[str]) -> int:
    """Print the whole answer, or with +short its data."""
    try:
        options = parse_dig(arguments)
        conf = _configuration()
        server = Server(options.server or conf.nameservers[0], options.port or conf.port, conf.timeout_seconds)
        names = conf.candidates(options.name) if options.search else [options.name.rstrip(".") + "."]
        begun = time.monotonic()
        answer = asyncio.run(_first_answer(names, options.type, server))
    except ValueError as error:
        print(f"dig: {error}", file=sys.stderr)
        return 1
    except LookupFailure as error:
        print(f";; {error}\n;; no servers could be reached")
        return SILENCE_EXIT_CODE
    if options.short:
        print("".join(f"{rr.rdata}\n" for rr in answer.rr), end="")
        return 0
    print(f"\n; <<>> DiG petset <<>> {' '.join(arguments)}\n;; global options: +cmd")
    print(dig_text(answer))
    print(f";; Query time: {(time.monotonic() - begun) * 1000:.0f} msec")
    print(f";; SERVER: {server.address}#{server.port}({server.address})")
    print(f";; WHEN: {time.strftime('%a %b %d %H:%M:%S UTC %Y', time.gmtime())}")
    print(f";; MSG SIZE  rcvd: {len(answer.pack())}\n")
    return 0


def parse_dig(arguments: list[str]) -> DigOptions:
    """Raises ValueError for what this dig does not know."""
    options, words = DigOptions(), iter(arguments)
    for word in words:
        if word.startswith("@"):
            options.server = str(ip_address(word[1:]))
        elif word == "-p":
            options.port = int(next(words, ""))
        elif word == "-t":
            options.type = next(words, "").upper()
        elif word == "-x":
            options.name, options.type = ip_address(next(words, "")).reverse_pointer, "PTR"
        elif word.startswith("+"):
            options.short |= word == "+short"
            options.search |= word == "+search"
        elif word.startswith("-"):
            raise ValueError(f"invalid option {word}")
        elif word.upper() in _TYPES:
            options.type = word.upper()
        else:
            options.name = word
    return options


def dig_text(answer: DNSRecord) -> str:
    """The answer as dig prints it, from its header to its last section."""
    header = answer.header
    flags = [name for name in ("qr", "aa", "tc", "rd", "ra") if getattr(header, name)]
    edns = [rr for rr in answer.ar if rr.rtype == QTYPE.OPT]
    additional = [rr for rr in answer.ar if rr.rtype != QTYPE.OPT]
    lines = [
        ";; Got answer:",
        f";; ->>HEADER<<- opcode: QUERY, status: {RCODE.get(header.rcode)}, id: {header.id}",
        f";; flags: {' '.join(flags)}; QUERY: {len(answer.questions)}, ANSWER: {len(answer.rr)}, "
        f"AUTHORITY: {len(answer.auth)}, ADDITIONAL: {len(answer.ar)}",
        "",
    ]
    if edns:
        lines += [";; OPT PSEUDOSECTION:", f"; EDNS: version: 0, flags:; udp: {edns[0].rclass}"]
    lines += [";; QUESTION SECTION:", *(f";{_columns(str(each.qname))}IN\t{QTYPE.get(each.qtype)}"
                                        for each in answer.questions), ""]  # fmt: skip
    for title, records in (("ANSWER", answer.rr), ("AUTHORITY", answer.auth), ("ADDITIONAL", additional)):
        if records:
            lines += [f";; {title} SECTION:", *(_record(rr) for rr in records), ""]
    return "\n".join(lines)


def nslookup(arguments: list[str]) -> int:
    """Print the addresses of a name, or its records of a type."""
    kinds = [word.partition("=")[2].upper() for word in arguments if word.startswith(("-type=", "-query=", "-q="))]
    words = [word for word in arguments if not word.startswith("-")]
    if not words:
        print("usage: nslookup [-type=type] name [server]", file=sys.stderr)
        return 1
    try:
        conf = _configuration()
        server = Server(words[1] if len(words) > 1 else conf.nameservers[0], conf.port, conf.timeout_seconds)
        name, kind = _asked(words[0], kinds[0] if kinds else "A")
        answer = asyncio.run(_first_answer(conf.candidates(name), kind, server))
    except LookupFailure as error:
        print(f";; {error}\n;; no servers could be reached")
        return 1
    print(f"Server:\t\t{server.address}\nAddress:\t{server.address}#{server.port}\n")
    if answer.header.rcode != RCODE.NOERROR:
        print(f"** server can't find {words[0]}: {RCODE.get(answer.header.rcode)}\n")
        return 1
    if not answer.rr:
        print(f"*** Can't find {words[0]}: No answer\n")
        return 1
    print("".join(_nslookup_line(rr) for rr in answer.rr))
    return 0


async def address_of(host: str) -> str:
    """An address as it is, or the first of a name by the search list. Raises LookupFailure."""
    try:
        return str(ip_address(host))
    except ValueError:
        conf = _configuration()
    if host == "localhost":
        return "127.0.0.1"
    failure = LookupFailure(f"Could not resolve host: {host}")
    for name in conf.candidates(host):
        try:
            return (await Resolver(conf, SystemRandom()).addresses(name))[0]
        except LookupFailure as error:
            failure = error
    raise failure


def _configuration() -> ResolvConf:
    return read_resolv_conf(Path(os.environ.get("PET_RESOLV_CONF", "/etc/resolv.conf")))


def _asked(name: str, kind: str) -> tuple[str, str]:
    try:
        return ip_address(name).reverse_pointer + ".", "PTR"
    except ValueError:
        return name, kind


async def _first_answer(names: list[str], kind: str, server: Server) -> DNSRecord:
    """The answer for the first name that has records; else the last name's."""
    for name in names:
        answer = await exchange(Question(name, kind, SystemRandom().randrange(65536)), server)
        if answer.rr:
            break
    return answer


def _columns(name: str) -> str:
    tabs = max(0, _NAME_COLUMNS - len(name) + 7) // 8
    return name + ("\t" * tabs or " ")


def _record(rr: RR) -> str:
    name = _columns(str(rr.rname))
    return f"{name}{rr.ttl}{name[-1]}IN\t{QTYPE.get(rr.rtype)}\t{rr.rdata}"


def _nslookup_line(rr: RR) -> str:
    owner, kind = str(rr.rname).rstrip("."), QTYPE.get(rr.rtype)
    match kind:
        case "A" | "AAAA":
            return f"Name:\t{owner}\nAddress: {rr.rdata}\n"
        case "CNAME":
            return f"{owner}\tcanonical name = {rr.rdata}\n"
        case "SRV":
            return f"{owner}\tservice = {rr.rdata}\n"
        case "PTR":
            return f"{owner}\tname = {rr.rdata}\n"
        case _:
            return f"{owner}\t{kind} = {rr.rdata}\n"
