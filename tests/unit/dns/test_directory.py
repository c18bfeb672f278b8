"""The directory follows objects in any order, and moves its serial only for what DNS can show."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from petset.cluster.api.objects import Object
from petset.dns.directory import Directory, dashed
from tests.unit.dns.objects import (
    HTTP,
    directory_of,
    endpoint,
    endpoint_slice,
    external,
    namespace,
    service,
)

KUBIA = endpoint_slice("kubia", endpoint("10.244.1.2", hostname="kubia-0"), endpoint("10.244.2.2", hostname="kubia-1"))


def hosts(directory: Directory, name: str = "kubia") -> list[tuple[str, str]]:
    return [(each.host, each.address) for each in directory.endpoints("default", name).all]


def test_order_of_arrival_does_not_matter() -> None:
    objects = [namespace("default"), service("kubia", "None"), KUBIA]
    seen = set()
    for order in permutations(objects):
        directory = directory_of(order)
        assert directory.has_namespace("default")
        assert directory.service("default", "kubia") is not None
        seen.add((tuple(hosts(directory)), tuple(directory.pointers("10.244.2.2"))))
    assert seen == {
        ((("kubia-0", "10.244.1.2"), ("kubia-1", "10.244.2.2")), (("kubia-1", "kubia", "default"),)),
    }


@pytest.mark.parametrize(
    "obj",
    [
        namespace("default"),
        service("web", "10.96.0.7"),
        external("db", "db.example.com"),
        KUBIA,
    ],
    ids=["Namespace", "Service", "ExternalName", "EndpointSlice"],
)
def test_what_was_put_in_can_be_taken_out(obj: Object) -> None:
    directory = directory_of([obj])
    assert directory.serial == 2
    directory.discard(obj)
    assert directory.serial == 3
    assert not directory.has_namespace("default")
    assert directory.service("default", "web") is None
    assert directory.service("default", "db") is None
    assert hosts(directory) == []
    assert directory.pointers("10.96.0.7") == []
    assert directory.pointers("10.244.1.2") == []


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        (KUBIA, KUBIA | {"metadata": KUBIA["metadata"] | {"resourceVersion": "9"}}, False),
        (service("web", "10.96.0.7"), service("web", "10.96.0.7", annotations={"note": "x"}), False),
        (service("web", "10.96.0.7"), service("web", "10.96.0.8"), True),
        (service("web", "10.96.0.7"), service("web", "10.96.0.7", ports=[HTTP | {"port": 81}]), True),
        (
            endpoint_slice("kubia", endpoint("10.244.1.2", ready=False)),
            endpoint_slice("kubia", endpoint("10.244.1.2", ready=True)),
            True,
        ),
        (
            endpoint_slice("kubia", endpoint("10.244.1.2", ready=False)),
            endpoint_slice("kubia", endpoint("10.244.1.3", ready=False)),
            False,
        ),
        (namespace("default"), namespace("default"), False),
    ],
    ids=["revision", "annotation", "cluster IP", "port", "readiness", "an unready address", "namespace again"],
)
def test_serial_moves_only_for_visible_changes(before: Object, after: Object, moves: bool) -> None:
    directory = directory_of([before])
    serial = directory.serial
    directory.put(after)
    assert (directory.serial != serial) is moves


def test_discarding_the_unknown_changes_nothing() -> None:
    directory = Directory()
    for obj in (namespace("default"), service("web", "10.96.0.7"), KUBIA):
        directory.discard(obj)
    assert directory.serial == 1


@pytest.mark.parametrize("act", [Directory.put, Directory.discard], ids=["put", "discard"])
def test_other_kinds_are_refused(act: Callable[[Directory, Object], None]) -> None:
    with pytest.raises(ValueError, match="no use for a Pod"):
        act(Directory(), {"kind": "Pod", "metadata": {"name": "web-0", "namespace": "default"}})


def test_a_replaced_slice_leaves_no_old_address_behind() -> None:
    directory = directory_of([KUBIA])
    directory.put(endpoint_slice("kubia", endpoint("10.244.3.9", hostname="kubia-0")))
    assert hosts(directory) == [("kubia-0", "10.244.3.9")]
    assert directory.pointers("10.244.1.2") == []
    assert list(directory.endpoints("default", "kubia").by_host) == ["kubia-0"]


def test_a_slice_can_change_its_service() -> None:
    directory = directory_of([endpoint_slice("kubia", endpoint("10.244.1.2"))])
    moved = endpoint_slice("kubia", endpoint("10.244.1.2"))
    moved["metadata"]["labels"] = {"kubernetes.io/service-name": "web"}
    directory.put(moved)
    assert hosts(directory, "kubia") == []
    assert hosts(directory, "web") == [("10-244-1-2", "10.244.1.2")]


def test_slices_of_a_service_join_in_the_order_of_their_names() -> None:
    directory = directory_of(
        [
            endpoint_slice("kubia", endpoint("10.244.1.9"), suffix="zz"),
            endpoint_slice("kubia", endpoint("10.244.1.3"), suffix="aa"),
        ]
    )
    assert [address for _, address in hosts(directory)] == ["10.244.1.3", "10.244.1.9"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (endpoint("10.244.1.2", ready=True), [("10-244-1-2", "10.244.1.2")]),
        (endpoint("10.244.1.2", ready=None), [("10-244-1-2", "10.244.1.2")]),
        (endpoint("10.244.1.2", ready=False), []),
        (endpoint("10.244.1.2", hostname="Kubia-0"), [("kubia-0", "10.244.1.2")]),
        (endpoint("10.244.1.2", hostname="a.b"), [("10-244-1-2", "10.244.1.2")]),
        (endpoint("10.244.1.2", "10.244.1.3", hostname="two"), [("two", "10.244.1.2"), ("two", "10.244.1.3")]),
        (endpoint("FD00:244:3:0:0:0:0:A"), [("fd00-244-3--a", "fd00:244:3::a")]),
        (endpoint("fd00:244:6::"), [("fd00-244-6--0", "fd00:244:6::")]),
        (endpoint("node.example.com"), []),
    ],
    ids=[
        "ready", "unknown counts as ready", "not ready", "hostname", "hostname that is no label", "two addresses",
        "IPv6", "IPv6 that ends in dashes", "no address",
    ],
)  # fmt: skip
def test_endpoints_of_a_slice(entry: Object, expected: list[tuple[str, str]]) -> None:
    assert hosts(directory_of([endpoint_slice("kubia", entry)])) == expected


@pytest.mark.parametrize(
    "obj",
    [
        endpoint_slice("kubia", endpoint("10.244.1.2"), family="FQDN"),
        endpoint_slice("", endpoint("10.244.1.2")),
        endpoint_slice("kubia") | {"endpoints": None},
    ],
    ids=["domain names", "no service", "no endpoints"],
)
def test_slices_without_anything_for_dns(obj: Object) -> None:
    assert hosts(directory_of([obj])) == []


def test_a_cluster_ip_wins_over_endpoints() -> None:
    directory = directory_of([endpoint_slice("kubia", endpoint("10.96.0.7")), service("web", "10.96.0.7")])
    assert directory.pointers("10.96.0.7") == [("web", "default")]


def test_one_pointer_per_service_that_has_the_endpoint() -> None:
    directory = directory_of(
        [
            endpoint_slice("kubia", endpoint("10.244.1.2", hostname="kubia-0")),
            endpoint_slice("kubia", endpoint("10.244.1.2", hostname="kubia-0"), suffix="other"),
            endpoint_slice("kubia-public", endpoint("10.244.1.2")),
        ]
    )
    assert directory.pointers("10.244.1.2") == [
        ("kubia-0", "kubia", "default"),
        ("10-244-1-2", "kubia-public", "default"),
    ]


@pytest.mark.parametrize(
    ("target", "alias"),
    [
        ("db.example.com", ("db", "example", "com")),
        ("DB.Example.com.", ("db", "example", "com")),
        ("192.0.2.7", None),
        ("fd00::7", None),
        ("a" * 64 + ".example", None),
        ("", None),
    ],
    ids=["name", "absolute name", "IPv4", "IPv6", "label too long", "empty"],
)
def test_alias_of_an_external_name(target: str, alias: tuple[str, ...] | None) -> None:
    found = directory_of([external("db", target)]).service("default", "db")
    assert found is not None
    assert found.is_external
    assert found.alias == alias


@pytest.mark.parametrize(
    ("address", "label"),
    [("172.17.0.2", "172-17-0-2"), ("fd00:244:3::a", "fd00-244-3--a"), ("fd00:244:6::", "fd00-244-6--0")],
)
def test_dashed_host_names(address: str, label: str) -> None:
    assert dashed(address) == label
