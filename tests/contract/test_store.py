"""What every `Backend` promises, run over all of them: exact revisions, one behaviour per test."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.errors import AlreadyExists, ApiError, Conflict, Expired, NotFound
from petset.cluster.store.backend import Backend, StoreKey
from tests.contract.stores import KUBIA, KUBIA_0, NODES, PODS, Opener, make, make_many, obj, take


class TestPut:
    async def test_an_empty_store_is_at_revision_0(self, backend: Backend) -> None:
        assert backend.revision == 0

    async def test_each_write_has_the_next_revision(self, backend: Backend) -> None:
        first = await make(backend, KUBIA_0)
        second = await make(backend, KUBIA)
        assert [first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]] == ["1", "2"]
        assert backend.revision == 2

    async def test_a_created_object_can_be_read_with_its_stamp(self, backend: Backend) -> None:
        answered = await make(backend, KUBIA_0, spec={"unknown": [1, None, "ü"]})
        expected = {
            "metadata": {"name": "kubia-0", "namespace": "default", "resourceVersion": "1"},
            "spec": {"unknown": [1, None, "ü"]},
        }
        assert answered == expected
        assert backend.get(KUBIA_0) == expected

    async def test_a_replaced_object_shows_only_its_new_state(self, backend: Backend) -> None:
        await make(backend, KUBIA_0, spec=1, old=True)
        await backend.put(KUBIA_0, obj(KUBIA_0, spec=2), expected=1)
        stamped = {"name": "kubia-0", "namespace": "default", "resourceVersion": "2"}
        assert backend.get(KUBIA_0) == {"metadata": stamped, "spec": 2}

    @pytest.mark.parametrize(
        ("exists", "expected", "error", "message"),
        [
            pytest.param(True, 0, AlreadyExists, 'pods "kubia-0" already exists', id="create an existing one"),
            pytest.param(True, 7, Conflict, 'cannot be fulfilled on pods "kubia-0"', id="replace a changed one"),
            pytest.param(False, 1, NotFound, 'pods "kubia-0" not found', id="replace an absent one"),
        ],
    )
    async def test_refused(
        self, backend: Backend, exists: bool, expected: int, error: type[ApiError], message: str
    ) -> None:
        await (make(backend, KUBIA_0) if exists else make(backend, KUBIA))
        before = backend.objects(PODS)
        with pytest.raises(error, match=message) as caught:
            await backend.put(KUBIA_0, obj(KUBIA_0, spec=2), expected=expected)
        assert caught.value.details == {"name": "kubia-0", "group": "", "kind": "pods"}
        assert caught.value.definite
        assert (backend.revision, backend.objects(PODS)) == (1, before)

    async def test_a_refusal_names_the_group(self, backend: Backend) -> None:
        with pytest.raises(NotFound, match=r'statefulsets\.apps "kubia" not found') as caught:
            await backend.put(KUBIA, obj(KUBIA), expected=4)
        assert caught.value.details == {"name": "kubia", "group": "apps", "kind": "statefulsets"}


class TestDelete:
    async def test_a_deletion_has_a_revision_and_stamps_the_last_state(self, backend: Backend) -> None:
        made = await make(backend, KUBIA_0, spec=1)
        last = await backend.delete(KUBIA_0, made, expected=1)
        assert last["metadata"]["resourceVersion"] == "2"
        assert (backend.revision, backend.get(KUBIA_0), backend.objects(PODS)) == (2, None, [])

    async def test_a_deleted_name_can_be_made_again(self, backend: Backend) -> None:
        await backend.delete(KUBIA_0, await make(backend, KUBIA_0), expected=1)
        again = await make(backend, KUBIA_0)
        assert again["metadata"]["resourceVersion"] == "3"

    @pytest.mark.parametrize(
        ("key", "expected", "error"),
        [
            pytest.param(KUBIA_0, 9, Conflict, id="changed"),
            pytest.param(KUBIA_0, 0, Conflict, id="expected to be absent"),
            pytest.param(KUBIA, 1, NotFound, id="absent"),
            pytest.param(KUBIA, 0, NotFound, id="absent as expected"),
        ],
    )
    async def test_refused(self, backend: Backend, key: StoreKey, expected: int, error: type[ApiError]) -> None:
        await make(backend, KUBIA_0)
        with pytest.raises(error):
            await backend.delete(key, obj(key), expected=expected)
        assert backend.revision == 1
        assert backend.get(KUBIA_0) is not None


class TestObjectsAt:
    async def test_every_earlier_state_is_what_was_read_then(self, backend: Backend) -> None:
        states = [backend.objects(PODS)]
        for name in ("b", "a", "c"):
            await make(backend, StoreKey(PODS, "app", name))
            states.append(backend.objects(PODS))
        changed = await backend.put(StoreKey(PODS, "app", "a"), obj(StoreKey(PODS, "app", "a"), x=1), expected=2)
        states.append(backend.objects(PODS))
        await backend.delete(StoreKey(PODS, "app", "a"), changed, expected=4)
        states.append(backend.objects(PODS))
        await make(backend, KUBIA_0)
        assert [backend.objects_at(PODS, revision=number) for number in range(6)] == states
        assert backend.objects_at(PODS, "app", revision=6) == states[5], "of one namespace"

    async def test_what_is_compacted_or_to_come_has_expired(self, opener: Opener) -> None:
        async with opener(history_changes=2) as backend:
            await make_many(backend, 4)
            assert len(backend.objects_at(PODS, revision=2)) == 2
            for revision in (1, 5):
                with pytest.raises(Expired):
                    backend.objects_at(PODS, revision=revision)


class TestObjects:
    @pytest.fixture(autouse=True)
    async def populated(self, backend: Backend) -> None:
        for namespace, name in [("web", "b"), ("app", "b"), ("web", "a"), ("app", "c"), ("app", "a-1"), ("app", "a")]:
            await make(backend, StoreKey(PODS, namespace, name))
        for name in ("node-2", "node-10", "node-1"):
            await make(backend, StoreKey(NODES, "", name))

    @pytest.mark.parametrize(
        ("resource", "namespace", "names"),
        [
            pytest.param(PODS, "", ["app/a", "app/a-1", "app/b", "app/c", "web/a", "web/b"], id="all namespaces"),
            pytest.param(PODS, "web", ["web/a", "web/b"], id="one namespace"),
            pytest.param(PODS, "none", [], id="a namespace without any"),
            pytest.param(NODES, "", ["/node-1", "/node-10", "/node-2"], id="cluster scope"),
            pytest.param("secrets", "", [], id="a resource without any"),
        ],
    )
    async def test_in_order_of_namespace_and_name(
        self, backend: Backend, resource: str, namespace: str, names: list[str]
    ) -> None:
        listed = backend.objects(resource, namespace)
        assert [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in listed] == names

    async def test_after_deletions_and_replacements(self, backend: Backend) -> None:
        for name, expected in [("a-1", 5), ("c", 4)]:
            key = StoreKey(PODS, "app", name)
            await backend.delete(key, obj(key), expected=expected)
        key = StoreKey(PODS, "app", "b")
        await backend.put(key, obj(key, spec=1), expected=2)
        listed = backend.objects(PODS, "app")
        assert [(each["metadata"]["name"], each.get("spec")) for each in listed] == [("a", None), ("b", 1)]

    async def test_a_list_is_the_callers_own(self, backend: Backend) -> None:
        backend.objects(PODS, "web").clear()
        assert len(backend.objects(PODS, "web")) == 2


class TestConcurrency:
    async def test_of_many_creations_one_succeeds(self, backend: Backend) -> None:
        answers = await asyncio.gather(*(make(backend, KUBIA_0, spec=n) for n in range(8)), return_exceptions=True)
        assert [type(answer) for answer in answers[1:]] == [AlreadyExists] * 7
        assert backend.get(KUBIA_0) is answers[0]
        assert backend.revision == 1

    async def test_of_many_replacements_one_succeeds(self, backend: Backend) -> None:
        await make(backend, KUBIA_0)
        answers = await asyncio.gather(
            *(backend.put(KUBIA_0, obj(KUBIA_0, spec=n), expected=1) for n in range(8)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 7 + ["dict"]
        assert backend.revision == 2

    async def test_whoever_is_told_conflict_can_read_the_cause(self, backend: Backend) -> None:
        """Optimistic locking makes progress: read, change, write, on conflict again, without any pause."""
        await make(backend, KUBIA_0, count=0)
        tries = 0

        async def count_one() -> None:
            nonlocal tries
            while True:
                tries += 1
                old = backend.get(KUBIA_0)
                assert old is not None
                revision = int(old["metadata"]["resourceVersion"])
                try:
                    await backend.put(KUBIA_0, {**old, "count": old["count"] + 1}, expected=revision)
                except Conflict:
                    assert backend.revision > revision
                    continue
                return

        await asyncio.gather(*(count_one() for _ in range(8)))
        final = backend.get(KUBIA_0)
        assert final is not None
        assert (final["count"], backend.revision) == (8, 9)
        assert tries <= 8 * 9 // 2  # the worst fair case: each round one succeeds and the others try once more

    async def test_no_gap_and_no_duplicate_for_watchers_that_join_during_writes(self, backend: Backend) -> None:
        total = 60

        async def write(writer: int) -> None:
            for number in range(total // 6):
                await make(backend, StoreKey(PODS, f"ns-{writer}", f"p-{number}"))

        async def follow() -> tuple[int, list[int]]:
            start = backend.revision
            with backend.watch(PODS, after=start) as changes:
                return start, [change.revision for change in await take(changes, total - start)]

        async def join_now_and_then() -> list[tuple[int, list[int]]]:
            followers = []
            with backend.watch(PODS, after=0) as changes:
                async for change in changes:
                    followers.append(asyncio.ensure_future(follow()))
                    if change.revision == total:
                        return await asyncio.gather(*followers)
            raise AssertionError("the watch ended")

        results, *_ = await asyncio.gather(join_now_and_then(), *(write(writer) for writer in range(6)))
        assert len(results) == total
        for start, revisions in results:
            assert revisions == list(range(start + 1, total + 1))


class TestAliasing:
    async def test_a_new_state_may_share_metadata_with_the_old_one(self, backend: Backend) -> None:
        old = await make(backend, KUBIA_0, spec=1)
        await backend.put(KUBIA_0, {**old, "spec": 2}, expected=1)
        assert old["metadata"]["resourceVersion"] == "1"

    async def test_a_read_object_may_be_handed_back_to_delete(self, backend: Backend) -> None:
        old = await make(backend, KUBIA_0)
        await backend.delete(KUBIA_0, old, expected=1)
        with backend.watch(PODS, after=0) as changes:
            versions = [change.object["metadata"]["resourceVersion"] for change in await take(changes, 2)]
        assert versions == ["1", "2"]

    async def test_a_refused_object_is_left_as_it_was(self, backend: Backend) -> None:
        await make(backend, KUBIA_0)
        refused = obj(KUBIA_0)
        with pytest.raises(AlreadyExists):
            await backend.put(KUBIA_0, refused, expected=0)
        assert refused == obj(KUBIA_0)
