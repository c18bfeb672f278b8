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
    "no address": ({"clusterIP": "x"}, "must be a valid IP address"),
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


async def test_services_that_are_made_at_the_same_time_share_nothing() -> None:
    async def commit(rows: list[Row], revision: int) -> None:
        await asyncio.sleep(0)

    backend = SqliteBackend(commit)
    async with backend.committing():
        api = await new_api(backend=backend)
        made = await asyncio.gather(*(create(api, manifest_service(f"s{n}", type="NodePort")) for n in range(3)))
        assert len({each["spec"]["clusterIP"] for each in made}) == 3
        assert len({each["spec"]["ports"][0]["nodePort"] for each in made}) == 3


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
