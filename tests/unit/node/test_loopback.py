"""What only the loopback network says; what every network promises is in tests/contract/test_network.py."""

from __future__ import annotations

from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork

PLAN = loopback_plan(63)


async def test_a_pod_is_told_to_bind_its_address() -> None:
    place = await LoopbackNetwork(PLAN, 2).attach_pod("default/pet-0")
    assert (place.address, place.environment) == ("127.127.2.2", {"PET_BIND": "127.127.2.2"})


def test_a_host_pod_is_told_to_bind_the_nodes_address() -> None:
    assert LoopbackNetwork(PLAN, 3).host_pod().environment == {"PET_BIND": "127.127.0.3"}
