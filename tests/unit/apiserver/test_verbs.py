"""The verbs over a memory backend: what create, update, patch, list and the subresources promise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.apiserver.options import DeleteOptions, ListOptions, WatchOptions, WriteOptions
from petset.cluster.apiserver.watch import watching
from petset.cluster.errors import AlreadyExists, ApiError, BadRequest, Conflict, Expired, Forbidden, Invalid, NotFound
from tests.apis import WRITE, causes, create, kind, manifest_pod, manifest_stateful_set, new_api, patch

STRICT = WriteOptions(field_validation="Strict")


class TestCreate:
    async def test_fills_in_what_the_server_owns(self) -> None:
        api = await new_api()
        made = await create(api, manifest_stateful_set())
        meta = made["metadata"]
        assert meta["namespace"] == "default"
        assert meta["generation"] == 1
        assert meta["creationTimestamp"] == "2026-01-01T00:00:00Z"
        assert int(meta["resourceVersion"]) == api.backend.revision
        assert made["status"] == {"replicas": 0, "availableReplicas": 0}

    async def test_stateful_set_defaults(self) -> None:
        made = await create(await new_api(), manifest_stateful_set())
        spec = made["spec"]
        assert spec["podManagementPolicy"] == "OrderedReady"
        assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30
        assert spec["volumeClaimTemplates"][0]["spec"]["volumeMode"] == "Filesystem"

    async def test_a_given_strategy_type_leaves_rolling_update_unset(self) -> None:
        manifest = manifest_stateful_set(updateStrategy={"type": "RollingUpdate"})
        assert (await create(await new_api(), manifest))["spec"]["updateStrategy"] == {"type": "RollingUpdate"}

    async def test_generate_name(self) -> None:
        manifest = manifest_pod()
        manifest["metadata"] = {"generateName": "web-"}
        made = await create(await new_api(), manifest)
        assert made["metadata"]["name"].startswith("web-")
        assert len(made["metadata"]["name"]) == len("web-") + 5

    async def test_noise_of_go_clients_counts_as_absent(self) -> None:
        manifest = manifest_pod()
        manifest["metadata"]["creationTimestamp"] = None
        manifest["status"] = {}
        manifest["spec"]["containers"][0]["resources"] = {}
        made = await create(await new_api(), manifest)
        assert made["status"]["phase"] == "Pending"
        assert made["metadata"]["creationTimestamp"] is not None

    async def test_the_name_is_taken(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        with pytest.raises(AlreadyExists, match='pods "a" already exists'):
            await create(api, manifest_pod())

    async def test_dry_run_stores_nothing(self) -> None:
        api = await new_api()
        await create(api, manifest_pod(), options=WriteOptions(dry_run=True))
        with pytest.raises(NotFound):
            api.verbs.get(kind(api, "Pod"), "default", "a")

    async def test_no_such_namespace(self) -> None:
        with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
            await create(await new_api(), manifest_pod(), namespace="nowhere")

    async def test_a_terminating_namespace_takes_nothing(self) -> None:
        api = await new_api()
        await create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}}, namespace="")
        await api.deletion.delete(kind(api, "Namespace"), "", "going", DeleteOptions())
        with pytest.raises(Forbidden, match="because it is being terminated"):
            await create(api, manifest_pod(), namespace="going")

    async def test_pods_tolerate_a_lost_node_for_five_minutes(self) -> None:
        made = await create(await new_api(), manifest_pod())
        assert [(each["key"], each["tolerationSeconds"]) for each in made["spec"]["tolerations"]] == [
            ("node.kubernetes.io/not-ready", 300),
            ("node.kubernetes.io/unreachable", 300),
        ]


class TestValidation:
    async def test_an_unknown_field_is_refused_when_strict(self) -> None:
        manifest = manifest_stateful_set(bogus=1)
        with pytest.raises(BadRequest, match='strict decoding error: unknown field "spec.bogus"'):
            await create(await new_api(), manifest, options=STRICT)

    async def test_an_unknown_field_is_dropped_with_a_warning_otherwise(self) -> None:
        api = await new_api()
        answer = await api.verbs.create(kind(api, "StatefulSet"), "default", manifest_stateful_set(bogus=1), WRITE)
        assert answer.warnings == ['unknown field "spec.bogus"']
        assert "bogus" not in answer.object["spec"]

    async def test_a_wrong_type_is_a_bad_request(self) -> None:
        with pytest.raises(BadRequest, match=r"cannot be handled as a StatefulSet: spec\.replicas"):
            await create(await new_api(), manifest_stateful_set(replicas="three"))

    async def test_hostile_nesting_is_refused(self) -> None:
        deep: Any = "x"
        for _ in range(5000):
            deep = {"a": deep}
        with pytest.raises(BadRequest, match="nested deeper"):
            await create(await new_api(), manifest_pod() | {"metadata": {"name": "x", "annotations": deep}})

    CASES = {
        "selector missing": ({"selector": None}, "spec.selector", "Required value"),
        "selector empty": (
            {"selector": {}},
            "spec.selector",
            "Invalid value: {}: empty selector is invalid for statefulset",
        ),
        "selector and template": (
            {"selector": {"matchLabels": {"app": "other"}}},
            "spec.template.metadata.labels",
            'Invalid value: {"app": "kubia"}: `selector` does not match template `labels`',
        ),
        "policy": (
            {"podManagementPolicy": "Sideways"},
            "spec.podManagementPolicy",
            "Invalid value: \"Sideways\": must be 'OrderedReady' or 'Parallel'",
        ),
        "negative replicas": (
            {"replicas": -1},
            "spec.replicas",
            "Invalid value: -1: must be greater than or equal to 0",
        ),
        "negative partition": (
            {"updateStrategy": {"rollingUpdate": {"partition": -1}}},
            "spec.updateStrategy.rollingUpdate.partition",
            "Invalid value: -1: must be greater than or equal to 0",
        ),
        "OnDelete with rollingUpdate": (
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            "spec.updateStrategy.rollingUpdate",
            "Invalid value: {\"partition\": 1}: only allowed for updateStrategy 'RollingUpdate'",
        ),
        "retention": (
            {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Maybe"}},
            "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
            'Unsupported value: "Maybe": supported values: "Retain", "Delete"',
        ),
    }

    @pytest.mark.parametrize(("change", "field", "message"), CASES.values(), ids=CASES)
    async def test_stateful_set_rules(self, change: dict[str, Any], field: str, message: str) -> None:
        with pytest.raises(Invalid) as caught:
            await create(await new_api(), manifest_stateful_set(**change))
        assert (field, message) in causes(caught.value.details)
        assert caught.value.message.startswith('StatefulSet.apps "kubia" is invalid: ')

    async def test_an_immutable_field(self) -> None:
        api = await new_api()
        await create(api, manifest_stateful_set())
        with pytest.raises(Invalid, match="updates to statefulset spec for fields other than 'replicas'"):
            await patch(api, "StatefulSet", "kubia", {"spec": {"serviceName": "other"}})

    async def test_a_pod_may_change_its_image_and_nothing_else(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        image = {"spec": {"containers": [{"name": "main", "image": "nginx"}]}}
        assert (await patch(api, "Pod", "a", image, "strategic"))["spec"]["containers"][0]["image"] == "nginx"
        with pytest.raises(Invalid, match="pod updates may not change fields other than"):
            await patch(api, "Pod", "a", {"spec": {"hostname": "b"}})

    @pytest.mark.parametrize("name", ["Kubia", "a_b", "-a", "a" * 64], ids=["case", "underscore", "dash", "length"])
    async def test_names(self, name: str) -> None:
        with pytest.raises(Invalid, match=r"metadata\.name"):
            await create(await new_api(), manifest_stateful_set(name))

    async def test_a_volume_mount_without_volume(self) -> None:
        manifest = manifest_stateful_set(volumeClaimTemplates=[])
        with pytest.raises(Invalid, match=r'volumeMounts\[0\]\.name: Not found: "data"'):
            await create(await new_api(), manifest)


class TestUpdate:
    async def test_a_stale_revision_conflicts(self) -> None:
        api = await new_api()
        first = await create(api, manifest_stateful_set())
        await patch(api, "StatefulSet", "kubia", {"spec": {"replicas": 3}})
        with pytest.raises(Conflict, match="the object has been modified"):
            await api.verbs.update(kind(api, "StatefulSet"), "default", "kubia", body=first, options=WRITE)

    async def test_no_revision_means_unconditional(self) -> None:
        api = await new_api()
        await create(api, manifest_stateful_set())
        body = manifest_stateful_set(replicas=5)
        answer = await api.verbs.update(kind(api, "StatefulSet"), "default", "kubia", body=body, options=WRITE)
        assert answer.object["spec"]["replicas"] == 5
        assert answer.object["metadata"]["generation"] == 2

    async def test_a_write_that_changes_nothing_keeps_the_revision(self) -> None:
        api = await new_api()
        first = await create(api, manifest_stateful_set())
        again = await patch(api, "StatefulSet", "kubia", {"spec": {"replicas": 2}})
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    async def test_the_main_resource_keeps_status_and_the_status_keeps_spec(self) -> None:
        api = await new_api()
        await create(api, manifest_stateful_set())
        both = {"spec": {"replicas": 7}, "status": {"replicas": 4, "availableReplicas": 0}}
        main = await patch(api, "StatefulSet", "kubia", both)
        assert (main["spec"]["replicas"], main["status"]["replicas"]) == (7, 0)
        both["spec"] = {"replicas": 9}
        status = await patch(api, "StatefulSet", "kubia", both, subresource="status")
        assert (status["spec"]["replicas"], status["status"]["replicas"]) == (7, 4)
        assert status["metadata"]["generation"] == 2

    async def test_a_uid_is_a_precondition(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        with pytest.raises(Conflict, match="Precondition failed: UID"):
            await patch(api, "Pod", "a", {"metadata": {"uid": "someone-else", "labels": {"x": "y"}}})

    async def test_json_patch_tests_the_revision(self) -> None:
        api = await new_api()
        first = await create(api, manifest_pod())
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": first["metadata"]["resourceVersion"]}
        add = {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}
        assert (await patch(api, "Pod", "a", [test, add], "json"))["metadata"]["finalizers"] == ["example.com/hold"]
        with pytest.raises(Invalid):
            await patch(api, "Pod", "a", [test, add], "json")

    async def test_concurrent_patches_all_land(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        bodies = [{"metadata": {"annotations": {f"n{number}": "x"}}} for number in range(8)]
        await asyncio.gather(*(patch(api, "Pod", "a", body) for body in bodies))
        assert len(api.verbs.get(kind(api, "Pod"), "default", "a")["metadata"]["annotations"]) == 8

    async def test_server_owned_metadata_cannot_be_changed(self) -> None:
        api = await new_api()
        first = await create(api, manifest_pod())
        body = {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z", "generation": 99, "labels": {"x": "y"}}}
        changed = await patch(api, "Pod", "a", body)
        assert changed["metadata"]["creationTimestamp"] == first["metadata"]["creationTimestamp"]
        assert changed["metadata"]["generation"] == 1


class TestSubresources:
    async def test_scale(self) -> None:
        api = await new_api()
        await create(api, manifest_stateful_set())
        sets = kind(api, "StatefulSet")
        scale = api.subresources.scale(sets, "default", "kubia")
        assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=kubia")
        scale["spec"]["replicas"] = 4
        await api.subresources.update_scale(sets, "default", "kubia", body=scale, options=WRITE)
        with pytest.raises(Conflict):
            await api.subresources.update_scale(sets, "default", "kubia", body=scale, options=WRITE)
        patched = await api.subresources.patch_scale(
            sets, "default", "kubia", body={"spec": {"replicas": 6}}, patch_type="merge", options=WRITE
        )
        assert patched["spec"]["replicas"] == 6
        assert api.verbs.get(sets, "default", "kubia")["metadata"]["generation"] == 3

    async def test_a_negative_scale_is_invalid(self) -> None:
        api = await new_api()
        await create(api, manifest_stateful_set())
        with pytest.raises(Invalid):
            await api.subresources.patch_scale(
                kind(api, "StatefulSet"), "default", "kubia",
                body={"spec": {"replicas": -1}}, patch_type="merge", options=WRITE,
            )  # fmt: skip

    async def test_binding_once(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        await api.verbs.patch(
            kind(api, "Pod"), "default", "a",
            body={"status": {"nominatedNodeName": "node-1"}}, patch_type="merge", options=WRITE, subresource="status",
        )  # fmt: skip
        body = {"target": {"name": "node-1"}}
        answer = await api.subresources.bind(kind(api, "Pod"), "default", "a", body)
        pod = api.verbs.get(kind(api, "Pod"), "default", "a")
        assert answer["metadata"]["resourceVersion"] == pod["metadata"]["resourceVersion"]
        assert pod["spec"]["nodeName"] == "node-1"
        assert "nominatedNodeName" not in pod["status"], "a promise that is kept is not shown"
        assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
        with pytest.raises(Conflict, match="already assigned"):
            await api.subresources.bind(kind(api, "Pod"), "default", "a", body)


class TestListAndWatch:
    async def test_selectors_limit_and_continue(self) -> None:
        api = await new_api()
        for name in "abcde":
            await create(api, manifest_pod(name))
        pods = kind(api, "Pod")
        first = api.verbs.list(pods, "default", ListOptions(limit=2))
        rest = api.verbs.list(pods, "", ListOptions(continue_token=first["metadata"]["continue"]))
        assert [pod["metadata"]["name"] for pod in first["items"] + rest["items"]] == list("abcde")
        assert first["metadata"]["remainingItemCount"] == 3
        one = api.verbs.list(
            pods, "", ListOptions(label_selector="app in (b, x)", field_selector="status.phase=Pending")
        )
        assert [pod["metadata"]["name"] for pod in one["items"]] == ["b"]
        some = api.verbs.list(pods, "", ListOptions(limit=1, label_selector="app in (b, c)"))
        assert some["metadata"].keys() == {"resourceVersion", "continue"}, "nobody counts what a selector leaves"

    async def test_all_pages_are_of_the_state_and_revision_of_the_first(self) -> None:
        """A reflector watches from the last page's revision: what changed on the first page must come after it."""
        api = await new_api()
        for name in "abcd":
            await create(api, manifest_pod(name))
        first = api.verbs.list(kind(api, "Pod"), "default", ListOptions(limit=2))
        await patch(api, "Pod", "a", {"metadata": {"labels": {"role": "main"}}})
        await patch(api, "Pod", "d", {"metadata": {"labels": {"role": "main"}}})
        await create(api, manifest_pod("e"))
        token = first["metadata"]["continue"]
        rest = api.verbs.list(kind(api, "Pod"), "default", ListOptions(continue_token=token))
        assert [pod["metadata"]["name"] for pod in rest["items"]] == ["c", "d"]
        assert "role" not in rest["items"][1]["metadata"].get("labels", {})
        assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    @pytest.mark.parametrize("token", ["x", "e30=", "W10="])
    async def test_a_bad_continue_token(self, token: str) -> None:
        api = await new_api()
        with pytest.raises(BadRequest):
            api.verbs.list(kind(api, "Pod"), "", ListOptions(continue_token=token))

    async def test_a_selector_turns_changes_into_added_and_deleted(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        options = WatchOptions(label_selector="role=main", revision=str(api.backend.revision))
        with watching(api.backend, kind(api, "Pod"), "default", options) as events:
            await patch(api, "Pod", "a", {"metadata": {"labels": {"role": "main"}}})
            await patch(api, "Pod", "a", {"metadata": {"labels": {"extra": "x"}}})
            await patch(api, "Pod", "a", {"metadata": {"labels": {"role": None}}})
            assert [(await anext(events)).type for _ in range(3)] == ["ADDED", "MODIFIED", "DELETED"]

    async def test_no_revision_starts_with_the_present(self) -> None:
        api = await new_api()
        await create(api, manifest_pod("a"))
        options = WatchOptions(initial_events=True)
        with watching(api.backend, kind(api, "Pod"), "", options) as events:
            await create(api, manifest_pod("b"))
            seen = [await anext(events) for _ in range(3)]
        assert [event.type for event in seen] == ["ADDED", "BOOKMARK", "ADDED"]
        assert seen[1].object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    async def test_the_future_has_expired(self) -> None:
        api = await new_api()
        with (
            pytest.raises(Expired),
            watching(api.backend, kind(api, "Pod"), "", WatchOptions(revision="999999")),
        ):
            pass


def test_every_error_survives_pickling() -> None:
    """They cross process borders: arguments are positional only."""
    import pickle

    for cls in ApiError.__subclasses__():
        if cls.__name__ == "StatusError":
            continue
        error = cls("text", {"name": "x"})
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.message, again.details) == (cls, "text", {"name": "x"})
