"""dig and nslookup: what they understand, and how they print an answer."""

from __future__ import annotations

import pytest
from dnslib import QTYPE, RR, SRV, A, DNSRecord

from petset.petapp.lookup import DigOptions, dig_text, parse_dig

ARGUMENTS = {
    "type first": (["SRV", "kubia"], DigOptions("kubia", "SRV")),
    "type last": (["kubia", "srv"], DigOptions("kubia", "SRV")),
    "server and port": (["@127.0.0.1", "-p", "5353", "a.b"], DigOptions("a.b", server="127.0.0.1", port=5353)),
    "reverse": (["-x", "127.64.1.2"], DigOptions("2.1.64.127.in-addr.arpa", "PTR")),
    "short": (["+short", "+search", "x"], DigOptions("x", short=True, search=True)),
}


@pytest.mark.parametrize(("arguments", "options"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(arguments: list[str], options: DigOptions) -> None:
    assert parse_dig(arguments) == options


@pytest.mark.parametrize("arguments", [["-z"], ["@nowhere", "x"], ["-p", "x", "y"]], ids=["option", "server", "port"])
def test_arguments_that_are_refused(arguments: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_dig(arguments)


def test_an_answer_is_printed_in_digs_form() -> None:
    name, target = "kubia.default.svc.cluster.local", "kubia-0.kubia.default.svc.cluster.local"
    answer = DNSRecord.question(name, "SRV").reply(ra=0)
    answer.add_answer(RR(name, QTYPE.SRV, ttl=30, rdata=SRV(0, 50, 80, target)))
    answer.add_ar(RR(target, QTYPE.A, ttl=30, rdata=A("127.64.1.2")))
    lines = dig_text(answer).splitlines()
    assert lines[1].startswith(";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: ")
    assert lines[2] == ";; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1"
    assert lines[4:] == [
        ";; QUESTION SECTION:",
        f";{name}. IN\tSRV",
        "",
        ";; ANSWER SECTION:",
        f"{name}. 30 IN\tSRV\t0 50 80 {target}.",
        "",
        ";; ADDITIONAL SECTION:",
        f"{target}. 30 IN\tA\t127.64.1.2",
    ]
