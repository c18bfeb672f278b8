"""The pages of a list: where a `continue` token goes on, and in which state.

    first page ──▶ token(revision, last key) ──▶ next page, of the state at that revision
                                              └▶ 410 when that is compacted, with a token(LATEST, last key):
                                                 the rest of the list as it is now

Rules and texts: etcd3/errors.go and continue.go of the real server's storage.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from petset.cluster.api.objects import Object
from petset.cluster.errors import BadRequest, Expired

LATEST = -1
"""For a revision: whatever is the newest when the token is used."""

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)

Key = tuple[str, str]
"""(namespace, name) of the last object of a page."""


class ContinueExpired(Expired):
    """The state that a token is of is not known any more; `token` goes on in the newest one."""

    def __init__(self, token: str) -> None:
        super().__init__(_EXPIRED)
        self.args = (token,)
        self.token = token

    def to_status(self) -> dict[str, Any]:
        return super().to_status() | {"metadata": {"continue": self.token}}


def key_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def make_token(revision: int, last: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([revision, *last])).decode()


def read_token(token: str) -> tuple[int, Key]:
    """The revision (negative: LATEST) and the key to go on after. Raises BadRequest."""
    try:
        key = orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        key = None
    match key:
        case [int(revision), str(namespace), str(name)]:
            return revision, (namespace, name)
    raise BadRequest("continue key is not valid: it is not one of this server")
