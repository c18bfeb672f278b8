"""/metrics of an API server on its real socket, as Prometheus would scrape it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from petset.cluster import pki
from petset.cluster.errors import NotFound
from tests.apis import new_api
from tests.wire.serving import serving


async def test_requests_are_counted_with_their_answers(tmp_path: Path) -> None:
    async with serving(await new_api(), tmp_path) as served:
        await served.client.list("Pod", "default")
        with pytest.raises(NotFound):
            await served.client.get("Pod", "absent", "default")
        text = (await served.client.request_raw("GET", "/metrics")).decode()
        counted = [line for line in text.splitlines() if line.startswith("apiserver_request_total{")]
        for verb, scope, code in (("LIST", "namespace", 200), ("GET", "resource", 404)):
            [line] = [each for each in counted if f'verb="{verb}"' in each and 'resource="pods"' in each]
            assert f'scope="{scope}"' in line
            assert f'code="{code}"' in line
            assert line.endswith(" 1.0")
        tls = aiohttp.TCPConnector(ssl=pki.client_context(served.settings.folder))
        async with (
            aiohttp.ClientSession(connector=tls) as stranger,
            stranger.get(f"{served.settings.server}/metrics") as refused,
        ):
            assert refused.status == 401
