"""Builders of the three kinds that DNS reads, and records as zone-file lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from petset.cluster.api.objects import Object
from petset.dns.directory import Directory
from petset.dns.names import Name, name_from_text
from petset.dns.records import AAAA, CNAME, NS, PTR, SOA, SRV, TXT, A, Record
from tests.builders import metadata

HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
HTTP_8080 = {"name": "http", "port": 8080, "protocol": "TCP"}
UNNAMED_8080 = {"name": "", "port": 8080, "protocol": "TCP"}


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata("Namespace", name, namespace="")}


def service(
    name: str, *addresses: str, ports: Sequence[Object] = (HTTP,), spec: Object | None = None, **meta: Any
) -> Object:
    """A Service with these cluster IPs; "None" makes it headless."""
    body: Object = {"type": "ClusterIP", "ports": list(ports)}
    if addresses:
        body |= {"clusterIP": addresses[0], "clusterIPs": list(addresses)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("Service", name, **meta),
        "spec": body | (spec or {}),
    }


def external(name: str, target: str, **meta: Any) -> Object:
    return service(name, ports=(), spec={"type": "ExternalName", "externalName": target}, **meta)


def endpoint(*addresses: str, hostname: str = "", ready: bool | None = True) -> Object:
    """One endpoint of a slice; `ready` None leaves the condition out."""
    entry: Object = {"addresses": list(addresses), "conditions": {} if ready is None else {"ready": ready}}
    return entry | ({"hostname": hostname} if hostname else {})


def endpoint_slice(
    service_name: str, *endpoints: Object, suffix: str = "abcde", ports: Sequence[Object] | None = (HTTP_8080,),
    family: str = "IPv4", **meta: Any,
) -> Object:  # fmt: skip
    labels = {"kubernetes.io/service-name": service_name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata("EndpointSlice", f"{service_name}-{suffix}", labels=labels, **meta),
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": None if ports is None else list(ports),
    }


def directory_of(objects: Iterable[Object], *, synced: bool = True) -> Directory:
    directory = Directory()
    for obj in objects:
        directory.put(obj)
    directory.synced = synced
    return directory


def line(record: Record) -> str:
    """`owner TTL TYPE data`, as a zone file has it (the class is always IN)."""
    return f"{_text(record.name)} {record.ttl_seconds} {record.data.type.name} {_data(record)}"


def lines(records: Iterable[Record]) -> list[str]:
    return [line(record) for record in records]


def labels_of_text(text: str) -> tuple[str, ...]:
    labels = name_from_text(text)
    assert labels is not None, text
    return labels


def _data(record: Record) -> str:
    match record.data:
        case A(address) | AAAA(address):
            return address
        case SRV(priority, weight, port, target):
            return f"{priority} {weight} {port} {_text(target)}"
        case CNAME(target) | NS(target) | PTR(target):
            return _text(target)
        case TXT(text):
            return f'"{text}"'
        case SOA() as soa:
            numbers = (
                soa.serial, soa.refresh_seconds, soa.retry_seconds, soa.expire_seconds, soa.minimum_seconds,
            )  # fmt: skip
            return " ".join([_text(soa.name_server), _text(soa.mailbox), *map(str, numbers)])


def _text(name: Name) -> str:
    """The absolute name as a zone file writes it, with the final dot."""
    return ".".join(name) + "."
