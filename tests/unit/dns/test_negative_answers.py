"""Names that have no record of the asked type: whether they exist, and who says so.

NODATA is NOERROR without a record of the type; NODATA and NXDOMAIN carry exactly the zone's SOA; REFUSED carries
nothing and is not authoritative.
"""

from __future__ import annotations

import pytest

from petset.dns.names import zone_of
from petset.dns.records import Rcode, Type
from tests.unit.dns.objects import directory_of, labels_of_text
from tests.unit.dns.test_answers import CLUSTER, ZONE, Z, ask

DIRECTORY = directory_of(CLUSTER)
NEGATIVE = {
    "AAAA of an IPv4 cluster IP": (f"web.default.{Z} AAAA", "NODATA"),
    "AAAA of an IPv4 headless service": (f"kubia.default.{Z} AAAA", "NODATA"),
    "AAAA of an IPv4 host": (f"kubia-0.kubia.default.{Z} AAAA", "NODATA"),
    "A of an IPv6 service": (f"only6.default.{Z} A", "NODATA"),
    "TXT of a service": (f"kubia.default.{Z} TXT", "NODATA"),
    "MX of a service": (f"web.default.{Z} MX", "NODATA"),
    "HTTPS of a service": (f"web.default.{Z} HTTPS", "NODATA"),
    "ANY of a service": (f"web.default.{Z} ANY", "NODATA"),
    "CNAME of a service that is none": (f"web.default.{Z} CNAME", "NODATA"),
    "SOA below the apex": (f"web.default.{Z} SOA", "NODATA"),
    "TXT of a port name": (f"_http._tcp.web.default.{Z} TXT", "NODATA"),
    "SRV of a headless service without ports": (f"noports.default.{Z} SRV", "NODATA"),
    "SRV of a cluster IP without ports": (f"bare.default.{Z} SRV", "NODATA"),
    "a cluster IP not allocated yet": (f"pending.default.{Z} A", "NODATA"),
    "the zone has no address": ("cluster.local. A", "NODATA"),
    "svc": ("svc.cluster.local. A", "NODATA"),
    "pod": ("pod.cluster.local. A", "NODATA"),
    "dns": ("dns.cluster.local. A", "NODATA"),
    "a namespace": (f"default.{Z} A", "NODATA"),
    "a namespace below pod": ("default.pod.cluster.local. TXT", "NODATA"),
    "AAAA of an IPv4 pod record": ("10-244-1-2.default.pod.cluster.local. AAAA", "NODATA"),
    "A of the version": ("dns-version.cluster.local. A", "NODATA"),
    "AAAA of the name server": ("ns.dns.cluster.local. AAAA", "NODATA"),
    "A of a reverse name": ("7.0.96.10.in-addr.arpa. A", "NODATA"),
    "inside the reverse tree": ("96.10.in-addr.arpa. PTR", "NODATA"),
    "_tcp of a service with a named TCP port": (f"_tcp.kubia.default.{Z} SRV", "NODATA"),
    "ExternalName: SRV": (f"outside.default.{Z} SRV", "NODATA"),
    "ExternalName: TXT": (f"outside.default.{Z} TXT", "NODATA"),
    "ExternalName that leaves the zone, without forwarder": (f"outside.default.{Z} A", "NODATA"),
    "ExternalName whose target does not exist": (f"broken.default.{Z} A", "NODATA"),
    "ExternalName of an ExternalName of an address": (f"totoaddress.default.{Z} A", "NODATA"),
    "ExternalName loop": (f"loop.default.{Z} A", "NODATA"),
    "ExternalName of itself": (f"self.default.{Z} AAAA", "NODATA"),
    "missing service": (f"missing.default.{Z} A", "NXDOMAIN"),
    "missing namespace": (f"kubia.missing.{Z} A", "NXDOMAIN"),
    "the namespace itself is missing": (f"missing.{Z} A", "NXDOMAIN"),
    "missing namespace below pod": ("10-244-1-2.missing.pod.cluster.local. A", "NXDOMAIN"),
    "missing host": (f"kubia-3.kubia.default.{Z} A", "NXDOMAIN"),
    "missing port name": (f"_grpc._tcp.kubia.default.{Z} SRV", "NXDOMAIN"),
    "wrong protocol": (f"_http._udp.kubia.default.{Z} SRV", "NXDOMAIN"),
    "wrong protocol of a cluster IP": (f"_http._udp.web.default.{Z} SRV", "NXDOMAIN"),
    "unnamed port under a made-up name": (f"_http._tcp.early.default.{Z} SRV", "NXDOMAIN"),
    "_tcp of a service without named ports": (f"_tcp.early.default.{Z} SRV", "NXDOMAIN"),
    "_udp of a service with TCP ports": (f"_udp.kubia.default.{Z} SRV", "NXDOMAIN"),
    "host that is not ready": (f"starting-0.starting.default.{Z} A", "NXDOMAIN"),
    "headless without ready endpoint": (f"down.default.{Z} A", "NXDOMAIN"),
    "headless without ready endpoint: SRV": (f"down.default.{Z} SRV", "NXDOMAIN"),
    "dashed name of an endpoint with hostname": (f"10-244-1-2.kubia.default.{Z} A", "NXDOMAIN"),
    "a pod's name where endpoints have none": (f"kubia-0.kubia-state.default.{Z} A", "NXDOMAIN"),
    "PTR of an endpoint that is not ready": ("5.1.244.10.in-addr.arpa. PTR", "NXDOMAIN"),
    "PTR of an unknown address": ("1.2.0.192.in-addr.arpa. PTR", "NXDOMAIN"),
    "ExternalName that is an address": (f"toaddress.default.{Z} A", "NXDOMAIN"),
    "a label before an ExternalName": (f"x.outside.default.{Z} A", "NXDOMAIN"),
    "a port of an ExternalName": (f"_http._tcp.outside.default.{Z} SRV", "NXDOMAIN"),
    "three labels before a service": (f"a.b.c.kubia.default.{Z} A", "NXDOMAIN"),
    "wildcard service": (f"*.default.{Z} A", "NXDOMAIN"),
    "wildcard host": (f"*.kubia.default.{Z} A", "NXDOMAIN"),
    "pod name that is no address": ("kubia-0.default.pod.cluster.local. A", "NXDOMAIN"),
    "neither svc nor pod": ("kubia.default.node.cluster.local. A", "NXDOMAIN"),
    "search list 1": (f"www.example.com.default.{Z} A", "NXDOMAIN"),
    "search list 2": (f"www.example.com.{Z} AAAA", "NXDOMAIN"),
    "search list 3": ("www.example.com.cluster.local. A", "NXDOMAIN"),
    "outside": ("www.example.com. A", "REFUSED"),
    "the root": (". NS", "REFUSED"),
    "above the zone": ("local. SOA", "REFUSED"),
}


@pytest.mark.parametrize(("query", "outcome"), NEGATIVE.values(), ids=NEGATIVE)
def test_negative_answers(query: str, outcome: str) -> None:
    result = ask(DIRECTORY, query)
    assert (result.answer, result.additional) == ((), ())
    if outcome == "REFUSED":
        assert (result.rcode, result.authority, result.authoritative) == (Rcode.REFUSED, (), False)
        return
    assert result.rcode == (Rcode.NOERROR if outcome == "NODATA" else Rcode.NXDOMAIN)
    assert result.authoritative
    zone = zone_of(labels_of_text(query.split()[0]), ZONE)
    assert [(each.name, each.data.type) for each in result.authority] == [(zone, Type.SOA)]
