"""The seeds' commands about claims and volumes, with kubectl against the API and the volume controllers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from petset.cluster.assemble.manager import ControllerManager
from petset.cluster.clock import SystemClock
from petset.cluster.controllers.volumes import volume_controllers
from tests.apis import new_api
from tests.wire.serving import Served, needs_kubectl, serving

pytestmark = needs_kubectl


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    clock = SystemClock()
    async with serving(await new_api(clock), tmp_path) as it:
        controllers = asyncio.create_task(ControllerManager(it.client, clock, volume_controllers()).run())
        yield it
        controllers.cancel()
        await asyncio.gather(controllers, return_exceptions=True)


def volume(name: str) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/tmp/{name}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(name: str, class_name: str) -> dict[str, Any]:
    requests = {"requests": {"storage": "1Mi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": class_name, "resources": requests}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


async def prints(served: Served, *arguments: str, stdin: str = "") -> list[str]:
    """The lines that kubectl printed, ages as AGE and runs of spaces as one."""
    done = await served.kubectl(*arguments, stdin=stdin)
    assert done.code == 0, done.err
    return [re.sub(r"\b\d+s$", "AGE", re.sub(r" +", " ", line.rstrip())) for line in done.out.splitlines()]


async def test_the_seeds_commands_print_as_they_show(served: Served) -> None:
    items = [volume("pv-a"), volume("pv-b"), claim("data-kubia-0", ""), claim("www-web-0", "standard")]
    await prints(served, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    await prints(served, "wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data-kubia-0", "--timeout=30s")
    await prints(served, "wait", "--for=jsonpath={.status.phase}=Available", "pv/pv-b", "--timeout=30s")
    assert await prints(served, "get", "pvc") == [
        "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE",
        "data-kubia-0 Bound pv-a 1Mi RWO <unset> AGE",
        "www-web-0 Pending standard <unset> AGE",
    ]
    assert await prints(served, "get", "pv") == [
        "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE",
        "pv-a 1Mi RWO Retain Bound default/data-kubia-0 <unset> AGE",
        "pv-b 1Mi RWO Retain Available <unset> AGE",
    ]
    assert await prints(served, "delete", "pvc", "data-kubia-0", "www-web-0") == [
        'persistentvolumeclaim "data-kubia-0" deleted',
        'persistentvolumeclaim "www-web-0" deleted',
    ]
    await prints(served, "wait", "--for=jsonpath={.status.phase}=Released", "pv/pv-a", "--timeout=30s")
    assert (await prints(served, "get", "pv", "pv-a"))[1] == (
        "pv-a 1Mi RWO Retain Released default/data-kubia-0 <unset> AGE"
    )
