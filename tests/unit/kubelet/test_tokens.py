"""Tokens of pods: asked for once, renewed in time, kept while nobody answers."""

from __future__ import annotations

import asyncio
import base64

import orjson
import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import make_api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.apiserver.service_account_tokens import TokenIssuer
from petset.cluster.clock import LoopClock
from petset.cluster.errors import NotFound, Unavailable
from petset.cluster.kubelet.tokens import TokenCache
from petset.cluster.kubelet.volume_files import TokenWish
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.store.memory import MemoryBackend
from tests.fakes.client import CuttableClient
from tests.unit.kubelet.builders import pod

pytestmark = pytest.mark.looptime

ROBOT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"}}
WISH = TokenWish("robot", "", 3600)
POD = pod()


@pytest.fixture
async def client() -> CuttableClient:
    clock = LoopClock()
    api = await make_api(
        MemoryBackend(),
        schemas=load_schemas(),
        clock=clock,
        names=seeded_names(1),
        addresses=loopback_plan(0),
        issuer=TokenIssuer(b"key", clock),
    )
    made = CuttableClient(LoopbackClient(api))
    await made.create(ROBOT)
    return made


def claims_of(request: Object) -> Object:
    body = request["status"]["token"].split(".")[1]
    claims: Object = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


async def test_a_token_is_the_pods_own(client: CuttableClient) -> None:
    claims = claims_of(await TokenCache(client, LoopClock()).get(POD, TokenWish("robot", "vault", 7200)))
    assert claims["sub"] == "system:serviceaccount:default:robot"
    assert claims["aud"] == ["vault"]
    assert claims["exp"] - claims["iat"] == 7200
    assert claims["kubernetes.io"]["pod"] == {"name": "web-0", "uid": POD["metadata"]["uid"]}


async def test_a_token_serves_until_four_fifths_of_its_life(client: CuttableClient) -> None:
    cache = TokenCache(client, LoopClock())
    first = await cache.get(POD, WISH)
    await asyncio.sleep(0.79 * 3600)
    assert await cache.get(POD, WISH) == first
    await asyncio.sleep(0.02 * 3600)
    assert await cache.get(POD, WISH) != first


async def test_the_last_token_serves_while_nobody_answers(client: CuttableClient) -> None:
    cache = TokenCache(client, LoopClock())
    first = await cache.get(POD, WISH)
    await asyncio.sleep(3599)
    client.cut()
    assert await cache.get(POD, WISH) == first
    with pytest.raises(Unavailable):
        await cache.get(POD, TokenWish("robot", "vault", 3600))


async def test_there_is_no_token_of_nobody(client: CuttableClient) -> None:
    with pytest.raises(NotFound):
        await TokenCache(client, LoopClock()).get(POD, TokenWish("nobody", "", 3600))
