"""Which request each shape of name is."""

from __future__ import annotations

import pytest

from petset.dns.names import (
    AddressName,
    EmptyNode,
    EndpointName,
    NameServer,
    NamespaceName,
    Nonsense,
    Outside,
    PodName,
    PortName,
    Request,
    ServiceName,
    Version,
    ZoneApex,
    cluster_zone,
    name_from_text,
    parse,
    usual_address,
)

ZONE = ("cluster", "local")
NIBBLES = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.0.0.0.4.4.2.0.0.0.d.f"


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("cluster.local.", ZoneApex(ZONE)),
        ("in-addr.arpa.", ZoneApex(("in-addr", "arpa"))),
        ("ip6.arpa.", ZoneApex(("ip6", "arpa"))),
        ("ns.dns.cluster.local.", NameServer(ZONE)),
        ("ns.dns.in-addr.arpa.", NameServer(("in-addr", "arpa"))),
        ("dns.cluster.local.", EmptyNode()),
        ("dns-version.cluster.local.", Version()),
        ("svc.cluster.local.", EmptyNode()),
        ("pod.cluster.local.", EmptyNode()),
        ("default.svc.cluster.local.", NamespaceName("default")),
        ("default.pod.cluster.local.", NamespaceName("default")),
        ("kubia.default.svc.cluster.local.", ServiceName("default", "kubia")),
        ("KUBIA.Default.SVC.Cluster.LOCAL.", ServiceName("default", "kubia")),
        ("kubia-0.kubia.default.svc.cluster.local.", EndpointName("default", "kubia", "kubia-0")),
        ("_http._tcp.kubia.default.svc.cluster.local.", PortName("default", "kubia", "http", "tcp")),
        ("http.tcp.kubia.default.svc.cluster.local.", PortName("default", "kubia", "http", "tcp")),
        ("_._tcp.kubia.default.svc.cluster.local.", Nonsense()),
        ("_http._.kubia.default.svc.cluster.local.", Nonsense()),
        ("x._http._tcp.kubia.default.svc.cluster.local.", Nonsense()),
        ("kubia.default.services.cluster.local.", Nonsense()),
        ("www.example.com.cluster.local.", Nonsense()),
        ("www.example.com.svc.cluster.local.", EndpointName("com", "example", "www")),
        ("x.dns-version.cluster.local.", Nonsense()),
        ("10-244-1-2.default.pod.cluster.local.", PodName("default", "10.244.1.2")),
        ("fd00--1.default.pod.cluster.local.", PodName("default", "fd00::1")),
        ("fd00-244-6--0.default.pod.cluster.local.", PodName("default", "fd00:244:6::")),
        ("1--2-3.default.pod.cluster.local.", PodName("default", "1::2:3")),
        ("10-244-1.default.pod.cluster.local.", Nonsense()),
        ("10-244-1-256.default.pod.cluster.local.", Nonsense()),
        ("web-0.default.pod.cluster.local.", Nonsense()),
        ("x.10-244-1-2.default.pod.cluster.local.", Nonsense()),
        ("2.1.244.10.in-addr.arpa.", AddressName("10.244.1.2")),
        ("244.10.in-addr.arpa.", EmptyNode()),
        ("0.2.1.244.10.in-addr.arpa.", Nonsense()),
        ("02.1.244.10.in-addr.arpa.", Nonsense()),
        ("256.1.244.10.in-addr.arpa.", Nonsense()),
        ("b.1.244.10.in-addr.arpa.", Nonsense()),
        (f"{NIBBLES}.ip6.arpa.", AddressName("fd00:244:3::a")),
        (f"{NIBBLES[2:]}.ip6.arpa.", EmptyNode()),
        (f"0.{NIBBLES}.ip6.arpa.", Nonsense()),
        (f"aa{NIBBLES[1:]}.ip6.arpa.", Nonsense()),
        ("example.com.", Outside()),
        ("local.", Outside()),
        ("notcluster.local.", Outside()),
        ("arpa.", Outside()),
        (".", Outside()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_name_becomes_request(text: str, request_: Request) -> None:
    name = name_from_text(text)
    assert name is not None
    assert parse(name, ZONE) == request_


def test_a_dot_inside_a_label_separates_nothing() -> None:
    assert parse(("kubia.default", "svc", *ZONE), ZONE) == NamespaceName("kubia.default")
    assert parse(("2.1", "244", "10", "in-addr", "arpa"), ZONE) == Nonsense()


@pytest.mark.parametrize(
    "text",
    ["a..b", "..", ".a", "a" * 64, ".".join(["a" * 63] * 4), "ä.example"],
    ids=["empty label", "only dots", "leading dot", "label of 64", "name of 257 bytes", "not ASCII"],
)
def test_text_that_no_packet_can_carry(text: str) -> None:
    assert name_from_text(text) is None


def test_names_are_read_from_text() -> None:
    assert name_from_text("Kubia.Default") == ("kubia", "default")
    assert name_from_text(".") == ()


@pytest.mark.parametrize("domain", ["", ".", "a..b", "a" * 58 + ".b"])
def test_a_domain_that_cannot_work_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="cluster domain"):
        cluster_zone(domain)


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FD00:0:0::1", "fd00::1"),
        ("10.0.0", None),
        ("010.0.0.1", None),
        ("db.example", None),
        ("", None),
    ],
)
def test_addresses_have_one_form(text: str, usual: str | None) -> None:
    assert usual_address(text) == usual
