"""What a deletion does: at once, after a grace period, once finalizers are done, with dependents."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.options import DeleteOptions, ListOptions
from petset.cluster.errors import Conflict, Forbidden, NotFound
from tests.apis import SetClock, create, kind, manifest_pod, manifest_stateful_set, new_api, patch


class TestDelete:
    async def scheduled(self, api: Api, **meta: Any) -> None:
        manifest = manifest_pod(nodeName="node-1")
        manifest["metadata"] |= meta
        await create(api, manifest)

    async def delete(self, api: Api, **options: Any) -> Any:
        return await api.deletion.delete(kind(api, "Pod"), "default", "a", DeleteOptions(**options))

    async def test_an_unscheduled_pod_goes_at_once(self) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        await self.delete(api)
        with pytest.raises(NotFound):
            api.verbs.get(kind(api, "Pod"), "default", "a")

    async def test_a_scheduled_pod_waits_for_its_kubelet(self) -> None:
        api = await new_api()
        await self.scheduled(api)
        await self.delete(api)
        meta = api.verbs.get(kind(api, "Pod"), "default", "a")["metadata"]
        assert (meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"]) == ("2026-01-01T00:00:30Z", 30)
        await self.delete(api, grace_seconds=0, uid=meta["uid"])
        with pytest.raises(NotFound):
            api.verbs.get(kind(api, "Pod"), "default", "a")

    async def test_a_repeated_delete_only_shortens(self) -> None:
        clock = SetClock()
        api = await new_api(clock)
        await self.scheduled(api)
        await self.delete(api, grace_seconds=20)
        clock.seconds += 5
        assert (await self.delete(api, grace_seconds=60))["metadata"]["deletionGracePeriodSeconds"] == 20
        shortened = (await self.delete(api, grace_seconds=10))["metadata"]
        assert shortened["deletionGracePeriodSeconds"] == 10
        assert shortened["deletionTimestamp"] == "2026-01-01T00:00:15Z"

    async def test_a_finalizer_holds_until_it_is_removed(self) -> None:
        api = await new_api()
        await self.scheduled(api, finalizers=["example.com/hold"])
        await self.delete(api, grace_seconds=0)
        held = api.verbs.get(kind(api, "Pod"), "default", "a")
        assert held["metadata"]["deletionTimestamp"]
        await patch(api, "Pod", "a", {"metadata": {"finalizers": None}})
        with pytest.raises(NotFound):
            api.verbs.get(kind(api, "Pod"), "default", "a")

    @pytest.mark.parametrize("options", [{"uid": "other"}, {"revision": "1"}], ids=["uid", "resourceVersion"])
    async def test_preconditions(self, options: dict[str, str]) -> None:
        api = await new_api()
        await create(api, manifest_pod())
        with pytest.raises(Conflict, match="Precondition failed"):
            await self.delete(api, **options)

    async def test_propagation_becomes_a_finalizer(self) -> None:
        api = await new_api()
        await create(api, manifest_stateful_set())
        sets = kind(api, "StatefulSet")
        await api.deletion.delete(sets, "default", "kubia", DeleteOptions(propagation="Foreground"))
        assert api.verbs.get(sets, "default", "kubia")["metadata"]["finalizers"] == ["foregroundDeletion"]
        await api.deletion.delete(sets, "default", "kubia", DeleteOptions(propagation="Orphan"))
        assert api.verbs.get(sets, "default", "kubia")["metadata"]["finalizers"] == ["orphan"]

    async def test_a_namespace_waits_to_be_finalized(self) -> None:
        api = await new_api()
        await create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}, namespace="")
        namespaces = kind(api, "Namespace")
        await api.deletion.delete(namespaces, "", "x", DeleteOptions())
        assert api.verbs.get(namespaces, "", "x")["status"]["phase"] == "Terminating"
        await api.subresources.finalize_namespace(namespaces, "x", {"spec": {"finalizers": []}})
        with pytest.raises(NotFound):
            api.verbs.get(namespaces, "", "x")

    async def test_system_namespaces_stay(self) -> None:
        api = await new_api()
        with pytest.raises(Forbidden, match="this namespace may not be deleted"):
            await api.deletion.delete(kind(api, "Namespace"), "", "default", DeleteOptions())


class TestDeleteCollection:
    CASES = {
        "all": (ListOptions(), False, []),
        "by label": (ListOptions(label_selector="app=a"), False, ["b"]),
        "by field": (ListOptions(field_selector="metadata.name=b"), False, ["a"]),
        "a dry run": (ListOptions(), True, ["a", "b"]),
    }

    @pytest.mark.parametrize(("listing", "is_dry", "left"), CASES.values(), ids=CASES)
    async def test_what_the_selectors_match_goes(self, listing: ListOptions, is_dry: bool, left: list[str]) -> None:
        api = await new_api()
        for name in ("a", "b"):
            await create(api, manifest_pod(name))
        pods, options = kind(api, "Pod"), DeleteOptions(dry_run=is_dry)
        deleted = await api.deletion.delete_collection(pods, "default", listing, options)
        present = api.verbs.list(pods, "default", ListOptions())["items"]
        assert [each["metadata"]["name"] for each in present] == left
        assert len(deleted) == (2 if is_dry else 2 - len(left))
