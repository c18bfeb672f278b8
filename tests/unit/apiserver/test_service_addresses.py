"""Addresses and ports of Services: given once, kept, and refused where the cluster cannot have them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.apiserver import service_addresses
from petset.cluster.errors import InternalError, Invalid
from petset.cluster.store.database import Row
from petset.cluster.store.sqlite import SqliteBackend
from tests.apis import WRITE, create, kind, manifest_service, new_api, patch


async def test_cluster_ips_are_given_once() -> None:
    api = await new_api()
    addresses = [(await create(api, manifest_service(f"s{n}")))["spec"]["clusterIP"] for n in range(3)]
    assert len(set(addresses)) == 3
    assert all(address.startswith("127.128.") for address in addresses)


async def test_an_applied_manifest_keeps_its_address_and_port() -> None:
    api = await new_api()
    made = await create(api, manifest_service(type="NodePort"))
    answer = await api.verbs.update(
        kind(api, "Service"), "default", "kubia", body=manifest_service(type="NodePort"), options=WRITE
    )
    assert answer.object["spec"] == made["spec"]
    assert made["spec"]["ports"][0]["nodePort"] in range(30000, 32768)


async def test_headless() -> None:
    made = await create(await new_api(), manifest_service(clusterIP="None"))
    assert made["spec"]["clusterIPs"] == ["None"]


async def test_a_load_balancer_without_node_ports() -> None:
    made = await create(await new_api(), manifest_service(type="LoadBalancer", allocateLoadBalancerNodePorts=False))
    assert "nodePort" not in made["spec"]["ports"][0]


async def test_node_ports_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_addresses, "NODE_PORTS", range(30000, 30001))
    api = await new_api()
    await create(api, manifest_service("first", type="NodePort"))
    with pytest.raises(InternalError, match="range is full"):
        await create(api, manifest_service("second", type="NodePort"))


async def test_an_address_is_free_again_when_its_service_becomes_another_name() -> None:
    api = await new_api()
    had = (await create(api, manifest_service()))["spec"]["clusterIP"]
    alias = await patch(api, "Service", "kubia", {"spec": {"type": "ExternalName", "externalName": "example.com"}})
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(alias["spec"])
    assert (await create(api, manifest_service("other", clusterIP=had)))["spec"]["clusterIP"] == had


CASES = {
    "outside the range": ({"clusterIP": "10.0.0.1"}, "is not in the valid range"),
    "taken": ({"clusterIP": "127.128.0.10"}, "already allocated"),
    "no address": (
        {"clusterIP": "x"},
        r'clusterIPs\[0\]: Invalid value: "x": must be a valid IP address, \(e.g. 10.9.8.7 or 2001:db8::ffff\)$',
    ),
    "the plural alone": (
        {"clusterIPs": ["127.128.0.99"]},
        r'clusterIPs: Invalid value: \["127.128.0.99"\]: must be empty when `clusterIP` is not specified$',
    ),
    "the plural begins with another one": (
        {"clusterIP": "127.128.0.98", "clusterIPs": ["127.128.0.99"]},
        r'clusterIPs: Invalid value: \["127.128.0.99"\]: first value must match `clusterIP`$',
    ),
    "two of one family": (
        {"clusterIP": "127.128.0.98", "clusterIPs": ["127.128.0.98", "127.128.0.99"]},
        "may specify no more than one IP for each IP family",
    ),
    "three of them": (
        {"clusterIP": "127.128.0.98", "clusterIPs": ["127.128.0.98", "fd00::1", "fd00::2"]},
        "may only hold up to 2 values",
    ),
    "none, and another one": (
        {"clusterIP": "None", "clusterIPs": ["None", "127.128.0.99"]},
        "'None' must be the first and only value",
    ),
    "a second one of a family that the cluster lacks": (
        {"clusterIP": "127.128.0.98", "clusterIPs": ["127.128.0.98", "fd00::1"]},
        "not configured for dual-stack services",
    ),
    "the only one of a family that the cluster lacks": (
        {"clusterIP": "fd00::1"},
        r'spec.ipFamilies\[0\]: Invalid value: "IPv6": not configured on this cluster',
    ),
    "not of the family that is named": (
        {"clusterIP": "127.128.0.98", "ipFamilies": ["IPv6"]},
        r"clusterIPs\[0\]: .*: expected an IPv6 value as indicated by `ipFamilies\[0\]`",
    ),
    "an external name with an address": (
        {"type": "ExternalName", "externalName": "example.com", "clusterIP": "127.128.0.98"},
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
    ),
    "no ports": ({"ports": []}, "Required value"),
    "another family": (
        {"ipFamilies": ["IPv6"]},
        r'spec.ipFamilies\[0\]: Invalid value: "IPv6": not configured on this',
    ),
    "both families required": (
        {"ipFamilyPolicy": "RequireDualStack"},
        '"RequireDualStack": this cluster is not configured for dual-stack services',
    ),
    "both families named": ({"ipFamilies": ["IPv4", "IPv6"]}, "not configured for dual-stack services"),
    "both, headless": ({"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack"}, "not configured for dual-stack"),
}


@pytest.mark.parametrize(("spec", "text"), CASES.values(), ids=CASES)
async def test_refused(spec: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        await create(await new_api(), manifest_service(**spec))


async def test_both_fields_may_name_the_same_address() -> None:
    spec = {"clusterIP": "127.128.0.98", "clusterIPs": ["127.128.0.98"]}
    made = await create(await new_api(), manifest_service(**spec))
    assert {field: made["spec"][field] for field in spec} == spec


UPDATES = {
    "of the singular": ({"clusterIP": "127.128.0.99"}, r"clusterIPs\[0\]: .*may not change once set$"),
    "of the plural": ({"clusterIPs": ["127.128.0.99"]}, "first value must match `clusterIP`$"),
}


@pytest.mark.parametrize(("spec", "text"), UPDATES.values(), ids=UPDATES)
async def test_a_change_is_refused(spec: dict[str, Any], text: str) -> None:
    api = await new_api()
    await create(api, manifest_service())
    with pytest.raises(Invalid, match=text):
        await patch(api, "Service", "kubia", {"spec": spec})


async def test_a_change_of_something_else_by_a_client_that_knows_one_field_keeps_both() -> None:
    api = await new_api()
    made = await create(api, manifest_service())
    for cleared in ("clusterIP", "clusterIPs"):
        kept = await patch(api, "Service", "kubia", {"spec": {cleared: None, "sessionAffinity": "ClientIP"}})
        assert (kept["spec"]["clusterIP"], kept["spec"]["clusterIPs"]) == (
            made["spec"]["clusterIP"], made["spec"]["clusterIPs"],
        )  # fmt: skip


async def test_services_that_are_made_at_the_same_time_share_nothing() -> None:
    async def commit(rows: list[Row], revision: int) -> None:
        await asyncio.sleep(0)

    backend = SqliteBackend(commit)
    async with backend.committing():
        api = await new_api(backend=backend)
        made = await asyncio.gather(*(create(api, manifest_service(f"s{n}", type="NodePort")) for n in range(3)))
        assert len({each["spec"]["clusterIP"] for each in made}) == 3
        assert len({each["spec"]["ports"][0]["nodePort"] for each in made}) == 3


@pytest.mark.looptime
async def test_the_address_of_a_creation_that_is_cancelled_during_its_commit_is_not_given_again() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    may_end.set()

    async def commit(rows: list[Row], revision: int) -> None:
        begun.set()
        await may_end.wait()

    async def creating(name: str) -> Any:
        return await create(api, manifest_service(name, clusterIP="127.128.0.98"))

    backend = SqliteBackend(commit)
    async with backend.committing():
        api = await new_api(backend=backend)
        begun.clear()
        may_end.clear()
        cancelled = asyncio.create_task(creating("cancelled"))
        await begun.wait()
        cancelled.cancel()
        other = asyncio.create_task(creating("other"))
        await asyncio.sleep(1)  # in virtual time: the other one has come as far as it can
        may_end.set()
        with pytest.raises(Invalid, match="provided IP is already allocated"):
            await other
        with pytest.raises(asyncio.CancelledError):
            await cancelled


FAMILIES = {
    "none asked for": ({}, ["IPv4"], "SingleStack"),
    "both preferred": ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4"], "PreferDualStack"),
    "its own endpoints may be of any": (
        {"clusterIP": "None", "selector": None, "ipFamilies": ["IPv6"]}, ["IPv6"], "SingleStack",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "families", "policy"), FAMILIES.values(), ids=FAMILIES)
async def test_families(spec: dict[str, Any], families: list[str], policy: str) -> None:
    made = await create(await new_api(), manifest_service(**spec))
    assert (made["spec"]["ipFamilies"], made["spec"]["ipFamilyPolicy"]) == (families, policy)
