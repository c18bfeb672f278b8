"""The `Client` protocol: how every component speaks to the API server.

Two implementations answer to one contract suite (tests/contract/test_client.py): `control.http_client` over HTTP,
and `apiserver.loopback` straight onto the verbs, for a whole cluster in one process and virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from petset.cluster.api.objects import Object


@dataclass(frozen=True)
class Listing:
    """A consistent list and the revision from which a watch continues it."""

    items: list[Object]
    revision: str


@dataclass(frozen=True)
class WatchEvent:
    """One change. BOOKMARK carries only a newer revision."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


OWNERS = {"binding": "Pod", "eviction": "Pod", "token": "ServiceAccount"}
"""The kind that has a subresource which `Client.create` can be asked for."""


class Client(Protocol):
    """Kinds are named by their `kind` (`"Pod"`); a namespace of "" means cluster scope, or all namespaces in lists.

    Every method raises errors of the ApiError family; `Unavailable` when nobody answered.
    """

    async def get(self, kind: str, name: str, namespace: str = "") -> Object: ...

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing: ...

    def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Changes after `revision`, in order, until the server ends the stream. Raises Expired: list again."""

    async def create(self, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        """POST. With a subresource (`binding`, `eviction`, `token`), `obj` is its body, `name` that of who has it."""

    async def update(self, obj: Object, *, subresource: str = "") -> Object: ...

    async def patch(
        self, kind: str, name: str, namespace: str = "", *,
        body: Any, patch_type: Literal["merge", "json", "strategic"] = "merge", subresource: str = "",
    ) -> Object: ...  # fmt: skip

    async def delete(self, kind: str, name: str, namespace: str = "", *, options: Object | None = None) -> Object: ...
