"""The way to a kubelet that is not there: an error in the words of the real server's dialer, and soon."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from petset.cluster.apiserver import kubelets
from petset.cluster.apiserver.kubelets import CONNECT_SECONDS, KubeletAccess, Kubelets
from petset.cluster.errors import InternalError
from tests.apis import create, manifest_pod, new_api

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-1"},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "172.18.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    },
}


@pytest.mark.looptime
async def test_a_node_whose_cable_is_cut_costs_no_client_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silence(host: str, port: int, tls: ssl.SSLContext) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(kubelets, "connect", silence)
    api = await new_api()
    await create(api, NODE, "")
    pod = await create(api, manifest_pod(nodeName="node-1"))
    way = Kubelets(api, KubeletAccess("token", ssl.create_default_context()))
    started = asyncio.get_running_loop().time()
    with pytest.raises(InternalError, match="error dialing backend: dial tcp 172.18.0.1:10250: i/o timeout"):
        async with way.open_stream(pod, ("exec",), ()):
            pass
    assert asyncio.get_running_loop().time() - started == pytest.approx(CONNECT_SECONDS, abs=1)
