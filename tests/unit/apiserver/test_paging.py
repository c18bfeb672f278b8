"""Pages whose state is compacted meanwhile: 410, with a token for the rest of the list as it is now."""

from __future__ import annotations

import pickle

import pytest

from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.options import ListOptions
from petset.cluster.apiserver.paging import ContinueExpired
from petset.cluster.store.memory import MemoryBackend
from tests.apis import create, kind, manifest_pod, new_api, patch

HISTORY_CHANGES = 10


async def compacted_after_a_page() -> tuple[Api, str]:
    """Pods a to d, of which two are listed, and the token of the third, whose state nobody remembers."""
    api = await new_api(backend=MemoryBackend(history_changes=HISTORY_CHANGES))
    for name in "abcd":
        await create(api, manifest_pod(name))
    token = api.verbs.list(kind(api, "Pod"), "default", ListOptions(limit=2))["metadata"]["continue"]
    for number in range(HISTORY_CHANGES):
        await patch(api, "Pod", "d", {"metadata": {"labels": {"number": str(number)}}})
    await create(api, manifest_pod("e"))
    return api, token


async def test_an_expired_token_is_answered_with_one_for_the_newest_state() -> None:
    api, token = await compacted_after_a_page()
    with pytest.raises(ContinueExpired) as caught:
        api.verbs.list(kind(api, "Pod"), "default", ListOptions(continue_token=token))
    status = caught.value.to_status()
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"].startswith(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder"
    )
    rest = api.verbs.list(kind(api, "Pod"), "default", ListOptions(continue_token=status["metadata"]["continue"]))
    assert [pod["metadata"]["name"] for pod in rest["items"]] == ["c", "d", "e"]
    assert rest["metadata"]["resourceVersion"] == str(api.backend.revision)


async def test_the_pages_of_the_rest_are_of_one_state_again() -> None:
    api, token = await compacted_after_a_page()
    with pytest.raises(ContinueExpired) as caught:
        api.verbs.list(kind(api, "Pod"), "default", ListOptions(continue_token=token))
    first = api.verbs.list(kind(api, "Pod"), "default", ListOptions(limit=1, continue_token=caught.value.token))
    await create(api, manifest_pod("f"))
    last = api.verbs.list(kind(api, "Pod"), "default", ListOptions(continue_token=first["metadata"]["continue"]))
    assert [pod["metadata"]["name"] for pod in last["items"]] == ["d", "e"]
    assert last["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ContinueExpired("token")))
    assert error.to_status() == ContinueExpired("token").to_status()
