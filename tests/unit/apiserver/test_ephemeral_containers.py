"""The ephemeralcontainers subresource: what may be added to a pod, and that nothing else changes through it."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.errors import Invalid
from tests.apis import manifest_pod, manifest_stateful_set, new_api

DEBUG = {"name": "debug", "image": "busybox:1", "targetContainerName": "main"}


async def with_pod(**spec: Any) -> Api:
    api = await new_api()
    await api.verbs.create(api.registry.of_kind("Pod"), "default", manifest_pod("a", **spec), WriteOptions())
    return api


async def add(api: Api, *containers: Object, **more: Any) -> Object:
    body = {"spec": {"ephemeralContainers": list(containers)}, **more}
    answer = await api.verbs.patch(
        api.registry.of_kind("Pod"), "default", "a",
        body=body, patch_type="strategic", options=WriteOptions(), subresource="ephemeralcontainers",
    )  # fmt: skip
    return answer.object


async def test_one_is_added_and_completed() -> None:
    api = await with_pod()
    pod = await add(api, DEBUG)
    assert pod["spec"]["ephemeralContainers"] == [{
        **DEBUG, "imagePullPolicy": "IfNotPresent", "resources": {},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    }]  # fmt: skip
    assert pod["metadata"]["generation"] == 2
    second = await add(api, {"name": "second", "image": "busybox:1"})
    assert {each["name"] for each in second["spec"]["ephemeralContainers"]} == {"debug", "second"}


async def test_nothing_else_changes_through_it() -> None:
    api = await with_pod()
    old = api.verbs.get(api.registry.of_kind("Pod"), "default", "a")
    pod = await add(api, DEBUG, metadata={"labels": {"app": "other"}}, status={"phase": "Failed"})
    assert pod["metadata"]["labels"] == old["metadata"]["labels"]
    assert pod["status"] == old["status"]
    assert pod["spec"] == {**old["spec"], "ephemeralContainers": pod["spec"]["ephemeralContainers"]}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        pytest.param({"name": "main"}, 'spec.ephemeralContainers[0].name: Duplicate value: "main"', id="name taken"),
        pytest.param({"name": "No"}, "spec.ephemeralContainers[0].name: Invalid value", id="name is no label"),
        pytest.param({"image": ""}, "spec.ephemeralContainers[0].image: Required value", id="no image"),
        pytest.param({"targetContainerName": "other"},
                     'spec.ephemeralContainers[0].targetContainerName: Not found: "other"', id="no such target"),
        pytest.param({"ports": [{"containerPort": 80}]},
                     "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
                     id="ports"),
        pytest.param({"livenessProbe": {"tcpSocket": {"port": 80}}},
                     "spec.ephemeralContainers[0].livenessProbe: Forbidden", id="probes"),
        pytest.param({"volumeMounts": [{"name": "data", "mountPath": "/x"}]},
                     'spec.ephemeralContainers[0].volumeMounts[0].name: Not found: "data"', id="no such volume"),
    ],
)  # fmt: skip
async def test_what_may_not_be_added(container: Object, message: str) -> None:
    api = await with_pod()
    with pytest.raises(Invalid) as refused:
        await add(api, {**DEBUG, **container})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("then", "message"),
    [
        pytest.param([], 'existing ephemeral containers "debug" may not be removed', id="removed"),
        pytest.param([{**DEBUG, "image": "alpine:1"}], 'existing ephemeral containers "debug" may not be changed',
                     id="changed"),
    ],
)  # fmt: skip
async def test_one_that_is_there_stays_as_it_is(then: list[Object], message: str) -> None:
    api = await with_pod()
    pod = await add(api, DEBUG)
    body = {**pod, "spec": {**pod["spec"], "ephemeralContainers": then}}
    with pytest.raises(Invalid) as refused:
        await api.verbs.update(
            api.registry.of_kind("Pod"), "default", "a",
            body=body, options=WriteOptions(), subresource="ephemeralcontainers",
        )  # fmt: skip
    assert message in str(refused.value)


async def test_they_come_through_the_subresource_alone() -> None:
    with pytest.raises(Invalid, match="ephemeralContainers: Forbidden: cannot be set on create"):
        await with_pod(ephemeralContainers=[DEBUG])
    api = await with_pod()
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await api.verbs.patch(
            api.registry.of_kind("Pod"), "default", "a",
            body={"spec": {"ephemeralContainers": [DEBUG]}}, patch_type="merge", options=WriteOptions(),
        )  # fmt: skip
    template = manifest_stateful_set()
    template["spec"]["template"]["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox"}]
    with pytest.raises(Invalid, match="ephemeral containers not allowed in pod template"):
        await api.verbs.create(api.registry.of_kind("StatefulSet"), "default", template, WriteOptions())
