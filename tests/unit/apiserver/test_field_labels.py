"""What a field selector may ask of a kind, and what becomes of a question that no kind of that name answers."""

from __future__ import annotations

import pytest

from petset.cluster.api.kinds import Registry
from petset.cluster.apiserver.field_labels import field_matcher
from petset.cluster.apiserver.options import ListOptions, WatchOptions
from petset.cluster.apiserver.watch import watching
from petset.cluster.errors import BadRequest
from tests.apis import create, kind, manifest_pod, new_api

NOT_SUPPORTED = "field label not supported: "


@pytest.mark.parametrize(
    ("of_kind", "path", "message"),
    [
        pytest.param("Pod", "foo", NOT_SUPPORTED + "foo", id="no-field"),
        pytest.param("Pod", "spec.priority", NOT_SUPPORTED + "spec.priority", id="a-field-that-is-not-indexed"),
        pytest.param("Node", "spec.nodeName", NOT_SUPPORTED + "spec.nodeName", id="another-kind's-field"),
        pytest.param(
            "StatefulSet",
            "spec.replicas",
            '"spec.replicas" is not a known field selector: only "metadata.name", "metadata.namespace"',
            id="a-kind-of-which-only-the-name-is-known",
        ),
    ],
)
def test_refused(of_kind: str, path: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        field_matcher(Registry().of_kind(of_kind), f"metadata.name=a,{path}!=b")
    assert caught.value.to_status()["message"] == message


@pytest.mark.parametrize(
    ("of_kind", "selector"),
    [
        pytest.param("Pod", "spec.nodeName=a,status.phase!=Failed,spec.hostNetwork=true", id="describe-node"),
        pytest.param("Event", "involvedObject.uid=a,involvedObject.kind=Pod,reason=b", id="describe"),
        pytest.param("Secret", "type=Opaque", id="types"),
        pytest.param("StatefulSet", "metadata.name=a,metadata.namespace=b", id="names-of-every-kind"),
        pytest.param("StatefulSet", "", id="nothing-asked"),
    ],
)
def test_accepted(of_kind: str, selector: str) -> None:
    assert str(field_matcher(Registry().of_kind(of_kind), selector)) == selector


def test_an_events_source_is_its_component() -> None:
    matcher = field_matcher(Registry().of_kind("Event"), "source=kubelet")
    assert matcher.matches({"source": {"component": "kubelet"}})
    assert not matcher.matches({"source": {"component": "default-scheduler"}})


async def test_lists_and_watches_judge_alike() -> None:
    api = await new_api()
    await create(api, manifest_pod("a"))
    pods, unknown = kind(api, "Pod"), "foo=bar"
    with pytest.raises(BadRequest):
        api.verbs.list(pods, "", ListOptions(field_selector=unknown))
    with pytest.raises(BadRequest), watching(api.backend, pods, "", WatchOptions("0", field_selector=unknown)):
        pass
