"""The rules as tables: a query, how it ends, and the records as zone-file lines.

Outcomes: NOERROR has records and no authority; NODATA (NOERROR without a record of the type), NXDOMAIN and SERVFAIL
carry exactly the zone's SOA; REFUSED carries nothing and is not authoritative.
"""

from __future__ import annotations

import pytest

from petset.dns.answers import Answers, Authority
from petset.dns.directory import Directory
from petset.dns.records import SRV, Answer, Rcode, Type
from tests.unit.dns.objects import (
    HTTP,
    HTTP_8080,
    UNNAMED_8080,
    directory_of,
    endpoint,
    endpoint_slice,
    external,
    labels_of_text,
    line,
    lines,
    namespace,
    service,
)

ZONE = ("cluster", "local")
DEFAULT = ("default", "svc", *ZONE)
TYPES = {each.name: int(each) for each in Type} | {"MX": 15, "HTTPS": 65, "ANY": 255}
Z = "svc.cluster.local."

KUBIA = [
    service("kubia", "None"),
    endpoint_slice(
        "kubia",
        endpoint("10.244.1.2", hostname="kubia-0"),
        endpoint("10.244.2.2", hostname="kubia-1"),
        endpoint("10.244.3.2", hostname="kubia-2"),
    ),
]
CLUSTER = [
    namespace("default"),
    namespace("kube-system"),
    *KUBIA,
    # The service of a StatefulSet whose pods are not ready, but for one whose state nobody knows.
    service("starting", "None"),
    endpoint_slice(
        "starting",
        endpoint("10.244.1.3", hostname="starting-0", ready=False),
        endpoint("10.244.1.4", hostname="starting-1", ready=None),
    ),
    service("down", "None"),
    endpoint_slice("down", endpoint("10.244.1.5", hostname="down-0", ready=False)),
    # publishNotReadyAddresses: the slice controller writes ready=true.
    service("early", "None", spec={"publishNotReadyAddresses": True}),
    endpoint_slice("early", endpoint("10.244.1.6", hostname="early-0", ready=True), ports=[UNNAMED_8080]),
    # The pods of `kubia-state` have another subdomain, so no hostname here.
    service("kubia-state", "None"),
    endpoint_slice("kubia-state", endpoint("172.17.0.2"), endpoint("172.17.0.3"), ports=[UNNAMED_8080]),
    service("noports", "None", ports=[]),
    endpoint_slice("noports", endpoint("10.244.1.7", hostname="noports-0"), ports=None),
    # One host with two addresses, two ports; and the same address in a second slice.
    service("twin", "None"),
    endpoint_slice(
        "twin",
        endpoint("10.244.1.8", "10.244.1.9", hostname="twin-0"),
        ports=[HTTP_8080, {"name": "Admin", "port": 9090, "protocol": "UDP"}],
    ),
    service("doubled", "None"),
    endpoint_slice("doubled", endpoint("10.244.1.10", hostname="doubled-0")),
    endpoint_slice("doubled", endpoint("10.244.1.10", hostname="doubled-0"), suffix="moved"),
    service("dual", "None"),
    endpoint_slice("dual", endpoint("10.244.1.11", hostname="dual-0")),
    endpoint_slice("dual", endpoint("fd00:244:3::a", hostname="dual-0"), suffix="v6", family="IPv6"),
    service("only6", "None"),
    endpoint_slice("only6", endpoint("fd00:244:6::"), family="IPv6"),
    service("web", "10.96.0.7"),
    endpoint_slice("web", endpoint("10.244.1.12", hostname="web-0")),
    service("web6", "10.96.0.8", "fd00:96::8"),
    service("bare", "10.96.0.9", ports=[]),
    service("pending", ""),
    service(
        "kube-dns",
        "10.96.0.10",
        namespace="kube-system",
        ports=[
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            {"name": "metrics", "port": 9153, "protocol": "TCP"},
        ],
    ),
    external("outside", "db.example.com"),
    external("inside", f"web.default.{Z}"),
    external("inside2", f"inside.default.{Z}"),
    external("broken", f"missing.default.{Z}"),
    external("toaddress", "192.0.2.7"),
    external("totoaddress", f"toaddress.default.{Z}"),
    external("loop", f"pool.default.{Z}"),
    external("pool", f"loop.default.{Z}"),
    external("self", f"self.default.{Z}"),
]

HEADLESS_A = [f"kubia.default.{Z} 30 A 10.244.{number}.2" for number in (1, 2, 3)]
HEADLESS_SRV = [f"0 33 8080 kubia-{number}.kubia.default.{Z}" for number in (0, 1, 2)]
HEADLESS_GLUE = [f"kubia-{number}.kubia.default.{Z} 30 A 10.244.{number + 1}.2" for number in (0, 1, 2)]


def srv(owner: str, data: list[str]) -> list[str]:
    return [f"{owner} 30 SRV {each}" for each in data]


def ask(directory: Directory, query: str, *, addresses: tuple[str, ...] = ("10.96.0.99",), ttl: int = 30) -> Answer:
    name, type_ = query.split()
    return Answers(directory, Authority(ZONE, addresses, ttl, ttl)).answer(labels_of_text(name), TYPES[type_])


@pytest.fixture(scope="module")
def cluster() -> Directory:
    return directory_of(CLUSTER)


POSITIVE: dict[str, tuple[str, list[str], list[str]]] = {
    "headless: every ready endpoint": (f"kubia.default.{Z} A", HEADLESS_A, []),
    "headless: SRV on the bare name": (
        f"kubia.default.{Z} SRV", srv(f"kubia.default.{Z}", HEADLESS_SRV), HEADLESS_GLUE,
    ),
    "headless: SRV of a named port": (
        f"_http._tcp.kubia.default.{Z} SRV", srv(f"_http._tcp.kubia.default.{Z}", HEADLESS_SRV), HEADLESS_GLUE,
    ),
    "headless: underscores may be missing": (
        f"http.tcp.kubia.default.{Z} SRV", srv(f"http.tcp.kubia.default.{Z}", HEADLESS_SRV), HEADLESS_GLUE,
    ),
    "headless: addresses behind a port name": (
        f"_http._tcp.kubia.default.{Z} A", [f"_http._tcp.{each}" for each in HEADLESS_A], [],
    ),
    "host: its address": (
        f"kubia-1.kubia.default.{Z} A", [f"kubia-1.kubia.default.{Z} 30 A 10.244.2.2"], [],
    ),
    "host: SRV with all of its ports": (
        f"kubia-1.kubia.default.{Z} SRV",
        srv(f"kubia-1.kubia.default.{Z}", [f"0 100 8080 kubia-1.kubia.default.{Z}"]),
        [f"kubia-1.kubia.default.{Z} 30 A 10.244.2.2"],
    ),
    "letter case of the query does not matter": ("KuBiA.dEfAuLt.SVC.Cluster.Local. A", HEADLESS_A, []),
    "unknown readiness counts as ready": (
        f"starting.default.{Z} A", [f"starting.default.{Z} 30 A 10.244.1.4"], [],
    ),
    "publishNotReadyAddresses: published": (
        f"early-0.early.default.{Z} A", [f"early-0.early.default.{Z} 30 A 10.244.1.6"], [],
    ),
    "unnamed port: SRV on the bare name": (
        f"early.default.{Z} SRV",
        srv(f"early.default.{Z}", [f"0 100 8080 early-0.early.default.{Z}"]),
        [f"early-0.early.default.{Z} 30 A 10.244.1.6"],
    ),
    "no hostname: dashed addresses in SRV": (
        f"kubia-state.default.{Z} SRV",
        srv(f"kubia-state.default.{Z}", [f"0 50 8080 172-17-0-{last}.kubia-state.default.{Z}" for last in (2, 3)]),
        [f"172-17-0-{last}.kubia-state.default.{Z} 30 A 172.17.0.{last}" for last in (2, 3)],
    ),
    "no hostname: the dashed name": (
        f"172-17-0-2.kubia-state.default.{Z} A", [f"172-17-0-2.kubia-state.default.{Z} 30 A 172.17.0.2"], [],
    ),
    "a slice without ports has addresses": (
        f"noports.default.{Z} A", [f"noports.default.{Z} 30 A 10.244.1.7"], [],
    ),
    "one host with two addresses, two ports: weight counts all": (
        f"twin.default.{Z} SRV",
        srv(f"twin.default.{Z}", [f"0 25 {port} twin-0.twin.default.{Z}" for port in (8080, 9090)]),
        [f"twin-0.twin.default.{Z} 30 A 10.244.1.{last}" for last in (8, 9)],
    ),
    "port name and protocol without case": (
        f"_aDmIn._udP.twin.default.{Z} SRV",
        srv(f"_admin._udp.twin.default.{Z}", [f"0 50 9090 twin-0.twin.default.{Z}"]),
        [f"twin-0.twin.default.{Z} 30 A 10.244.1.{last}" for last in (8, 9)],
    ),
    "one address in two slices: one A": (
        f"doubled.default.{Z} A", [f"doubled.default.{Z} 30 A 10.244.1.10"], [],
    ),
    "one address in two slices: one SRV, weight of two": (
        f"doubled.default.{Z} SRV",
        srv(f"doubled.default.{Z}", [f"0 50 8080 doubled-0.doubled.default.{Z}"]),
        [f"doubled-0.doubled.default.{Z} 30 A 10.244.1.10"],
    ),
    "dual stack: A": (f"dual.default.{Z} A", [f"dual.default.{Z} 30 A 10.244.1.11"], []),
    "dual stack: AAAA": (f"dual.default.{Z} AAAA", [f"dual.default.{Z} 30 AAAA fd00:244:3::a"], []),
    "dual stack: both families in additional": (
        f"dual.default.{Z} SRV",
        srv(f"dual.default.{Z}", [f"0 50 8080 dual-0.dual.default.{Z}"]),
        [f"dual-0.dual.default.{Z} 30 A 10.244.1.11", f"dual-0.dual.default.{Z} 30 AAAA fd00:244:3::a"],
    ),
    "IPv6 that ends in dashes gets a 0": (
        f"fd00-244-6--0.only6.default.{Z} AAAA", [f"fd00-244-6--0.only6.default.{Z} 30 AAAA fd00:244:6::"], [],
    ),
    "cluster IP": (f"web.default.{Z} A", [f"web.default.{Z} 30 A 10.96.0.7"], []),
    "cluster IP: SRV": (
        f"web.default.{Z} SRV", srv(f"web.default.{Z}", [f"0 100 80 web.default.{Z}"]),
        [f"web.default.{Z} 30 A 10.96.0.7"],
    ),
    "cluster IP: SRV of a named port": (
        f"_http._tcp.web.default.{Z} SRV", srv(f"_http._tcp.web.default.{Z}", [f"0 100 80 web.default.{Z}"]),
        [f"web.default.{Z} 30 A 10.96.0.7"],
    ),
    "cluster IP: a host name answers too": (
        f"web-0.web.default.{Z} A", [f"web-0.web.default.{Z} 30 A 10.244.1.12"], [],
    ),
    "cluster IP: SRV of a host has the endpoint's port": (
        f"web-0.web.default.{Z} SRV", srv(f"web-0.web.default.{Z}", [f"0 100 8080 web-0.web.default.{Z}"]),
        [f"web-0.web.default.{Z} 30 A 10.244.1.12"],
    ),
    "two cluster IPs: one SRV of weight 50": (
        f"_http._tcp.web6.default.{Z} SRV", srv(f"_http._tcp.web6.default.{Z}", [f"0 50 80 web6.default.{Z}"]),
        [f"web6.default.{Z} 30 A 10.96.0.8", f"web6.default.{Z} 30 AAAA fd00:96::8"],
    ),
    "two cluster IPs: AAAA": (f"web6.default.{Z} AAAA", [f"web6.default.{Z} 30 AAAA fd00:96::8"], []),
    "one port under two protocols: one SRV, weight 33 stays": (
        f"kube-dns.kube-system.{Z} SRV",
        srv(f"kube-dns.kube-system.{Z}", [f"0 33 {port} kube-dns.kube-system.{Z}" for port in (53, 9153)]),
        [f"kube-dns.kube-system.{Z} 30 A 10.96.0.10"],
    ),
    "PTR of a cluster IP": (
        "7.0.96.10.in-addr.arpa. PTR", [f"7.0.96.10.in-addr.arpa. 30 PTR web.default.{Z}"], [],
    ),
    "PTR of an endpoint": (
        "2.2.244.10.in-addr.arpa. PTR", [f"2.2.244.10.in-addr.arpa. 30 PTR kubia-1.kubia.default.{Z}"], [],
    ),
    "PTR of an endpoint without hostname": (
        "2.0.17.172.in-addr.arpa. PTR",
        [f"2.0.17.172.in-addr.arpa. 30 PTR 172-17-0-2.kubia-state.default.{Z}"], [],
    ),
    "PTR over IPv6": (
        "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa. PTR",
        ["a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa. 30 PTR"
         f" dual-0.dual.default.{Z}"], [],
    ),
    "ExternalName: the CNAME": (
        f"outside.default.{Z} CNAME", [f"outside.default.{Z} 30 CNAME db.example.com."], [],
    ),
    "ExternalName inside the zone: CNAME, then the target": (
        f"inside.default.{Z} A",
        [f"inside.default.{Z} 30 CNAME web.default.{Z}", f"web.default.{Z} 30 A 10.96.0.7"], [],
    ),
    "ExternalName of an ExternalName": (
        f"inside2.default.{Z} A",
        [f"inside2.default.{Z} 30 CNAME inside.default.{Z}", f"inside.default.{Z} 30 CNAME web.default.{Z}",
         f"web.default.{Z} 30 A 10.96.0.7"], [],
    ),
    "pod record": (
        "10-244-1-2.default.pod.cluster.local. A", ["10-244-1-2.default.pod.cluster.local. 30 A 10.244.1.2"], [],
    ),
    "pod record of an address that no pod has": (
        "1-2-3-4.default.pod.cluster.local. A", ["1-2-3-4.default.pod.cluster.local. 30 A 1.2.3.4"], [],
    ),
    "pod record over IPv6": (
        "fd00--1.default.pod.cluster.local. AAAA", ["fd00--1.default.pod.cluster.local. 30 AAAA fd00::1"], [],
    ),
    "version": ("dns-version.cluster.local. TXT", ['dns-version.cluster.local. 28800 TXT "1.1.0"'], []),
    "NS of a server that no service has": (
        "cluster.local. NS", ["cluster.local. 30 NS ns.dns.cluster.local."], ["ns.dns.cluster.local. 30 A 10.96.0.99"],
    ),
    "NS of a reverse zone": (
        "in-addr.arpa. NS", ["in-addr.arpa. 30 NS ns.dns.in-addr.arpa."], ["ns.dns.in-addr.arpa. 30 A 10.96.0.99"],
    ),
    "address of the name server": ("ns.dns.cluster.local. A", ["ns.dns.cluster.local. 30 A 10.96.0.99"], []),
}  # fmt: skip


@pytest.mark.parametrize(("query", "answer", "additional"), POSITIVE.values(), ids=POSITIVE)
def test_records(cluster: Directory, query: str, answer: list[str], additional: list[str]) -> None:
    result = ask(cluster, query)
    assert (result.rcode, lines(result.answer), lines(result.additional)) == (Rcode.NOERROR, answer, additional)
    assert result.authority == ()
    assert result.authoritative


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("outside", ["db.example.com."]),
        ("web", []),
        ("inside", []),
        ("toaddress", []),
        ("loop", []),
        ("missing", []),
        ("x.outside", []),
    ],
)
def test_what_leads_out_of_the_cluster(cluster: Directory, name: str, targets: list[str]) -> None:
    aliases = Answers(cluster, Authority(ZONE, ("10.96.0.99",), 30, 30)).outward(labels_of_text(f"{name}.default.{Z}"))
    assert lines(aliases) == [f"{name}.default.{Z} 30 CNAME {target}" for target in targets]


def test_alias_of_a_target_without_the_family_is_a_cname_alone(cluster: Directory) -> None:
    result = ask(cluster, f"inside.default.{Z} AAAA")
    assert lines(result.answer) == [f"inside.default.{Z} 30 CNAME web.default.{Z}"]
    assert (result.rcode, [each.data.type for each in result.authority]) == (Rcode.NOERROR, [Type.SOA])


@pytest.mark.parametrize(("length", "resolves"), [(10, True), (11, False)])
def test_alias_chains_are_followed_ten_deep(length: int, resolves: bool) -> None:
    chain = [external(f"a{number}", f"a{number + 1}.default.{Z}") for number in range(length)]
    directory = directory_of([*chain, service(f"a{length}", "10.96.0.7")])
    result = ask(directory, f"a0.default.{Z} A")
    assert len(result.answer) == (length + 1 if resolves else 0)
    assert result.rcode == Rcode.NOERROR


@pytest.mark.parametrize("zone", ["cluster.local.", "in-addr.arpa.", "ip6.arpa."])
def test_start_of_authority(zone: str) -> None:
    directory = directory_of(KUBIA)
    soa = f"{zone} 30 SOA ns.dns.{zone} hostmaster.{zone} {directory.serial} 7200 1800 86400 30"
    assert lines(ask(directory, f"{zone} SOA").answer) == [soa]


@pytest.mark.parametrize(("ttl", "soa_ttl"), [(5, 5), (300, 300), (3600, 300), (0, 0)])
def test_times_to_live(cluster: Directory, ttl: int, soa_ttl: int) -> None:
    assert {each.ttl_seconds for each in ask(cluster, f"kubia.default.{Z} SRV", ttl=ttl).answer} == {ttl}
    [soa] = ask(cluster, f"missing.default.{Z} A", ttl=ttl).authority
    assert soa.ttl_seconds == soa_ttl
    assert line(soa).endswith(f" {ttl}"), "the SOA's minimum is the negative cache time"


@pytest.mark.parametrize(
    ("own", "servers"),
    [
        ("10.96.0.10", [("kube-dns.kube-system", "10.96.0.10")]),
        ("10.244.1.12", [("web.default", "10.96.0.7")]),
        ("10.244.2.2", [("kubia-1.kubia.default", "10.244.2.2")]),
    ],
    ids=["cluster IP", "endpoint of a cluster IP", "endpoint of a headless service"],
)
def test_name_server_is_the_service_that_has_the_servers_address(
    cluster: Directory, own: str, servers: list[tuple[str, str]]
) -> None:
    result = ask(cluster, "cluster.local. NS", addresses=(own,))
    assert lines(result.answer) == [f"cluster.local. 30 NS {name}.{Z}" for name, _ in servers]
    assert lines(result.additional) == [f"{name}.{Z} 30 A {address}" for name, address in servers]
    assert lines(ask(cluster, "ns.dns.cluster.local. A", addresses=(own,)).answer) == [
        f"ns.dns.cluster.local. 30 A {address}" for _, address in servers
    ]


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (f"kubia.default.{Z} A", Rcode.NOERROR),
        (f"kubia.default.{Z} AAAA", Rcode.NOERROR),
        ("cluster.local. SOA", Rcode.NOERROR),
        (f"outside.default.{Z} A", Rcode.NOERROR),
        (f"missing.default.{Z} A", Rcode.SERVFAIL),
        (f"kubia-7.kubia.default.{Z} A", Rcode.SERVFAIL),
        (f"broken.default.{Z} A", Rcode.SERVFAIL),
        (f"missing.{Z} A", Rcode.SERVFAIL),
        ("1.2.0.192.in-addr.arpa. PTR", Rcode.SERVFAIL),
        ("www.example.com. A", Rcode.REFUSED),
    ],
)
def test_until_synced_only_what_is_known_is_answered(query: str, rcode: Rcode) -> None:
    directory = directory_of(CLUSTER, synced=False)
    result = ask(directory, query)
    assert result.rcode == rcode
    if rcode == Rcode.SERVFAIL:
        assert [each.data.type for each in result.authority] == [Type.SOA]
        directory.synced = True
        assert ask(directory, query).rcode in (Rcode.NXDOMAIN, Rcode.NOERROR)


@pytest.mark.parametrize(("count", "weight"), [(1, 100), (2, 50), (3, 33), (6, 16), (100, 1), (150, 1)])
def test_weights_share_a_hundred(count: int, weight: int) -> None:
    entries = [endpoint(f"10.244.{number // 250}.{number % 250}") for number in range(count)]
    directory = directory_of([service("many", "None"), endpoint_slice("many", *entries)])
    assert {line(each).split()[4] for each in ask(directory, f"many.default.{Z} SRV").answer} == {str(weight)}


def test_a_pod_that_turns_unready_loses_its_names() -> None:
    directory = directory_of(KUBIA)
    unready = [endpoint(f"10.244.{number + 1}.2", hostname=f"kubia-{number}", ready=number != 1) for number in range(3)]
    directory.put(endpoint_slice("kubia", *unready))
    assert lines(ask(directory, f"kubia.default.{Z} A").answer) == [HEADLESS_A[0], HEADLESS_A[2]]
    assert ask(directory, f"kubia-1.kubia.default.{Z} A").rcode == Rcode.NXDOMAIN
    assert ask(directory, "2.2.244.10.in-addr.arpa. PTR").rcode == Rcode.NXDOMAIN
    assert ask(directory, f"kubia.default.{Z} SRV").answer[0].data == SRV(0, 50, 8080, ("kubia-0", "kubia", *DEFAULT))


def test_service_port_number_comes_from_the_service_and_endpoint_port_from_the_slice() -> None:
    ports = [HTTP | {"targetPort": 8080}]
    directory = directory_of([service("web", "10.96.0.7", ports=ports), endpoint_slice("web", endpoint("10.244.1.2"))])
    [of_service] = ask(directory, f"_http._tcp.web.default.{Z} SRV").answer
    [of_endpoint] = ask(directory, f"10-244-1-2.web.default.{Z} SRV").answer
    assert line(of_service).split()[5] == "80"
    assert line(of_endpoint).split()[5] == "8080"
