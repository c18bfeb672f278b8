"""Who is asking: bearer tokens, compared in constant time. Every known user may do everything; nobody else anything."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from petset.cluster.errors import Unauthorized


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()


class TokenAuthenticator:
    """`tokens` maps each token to its user."""

    def __init__(self, tokens: Mapping[str, User]) -> None:
        self._tokens = [(token.encode(), user) for token, user in tokens.items()]

    def authenticate(self, authorization: str) -> User:
        """The user of an Authorization header. Raises Unauthorized."""
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            token = given.strip().encode()
            for known, user in self._tokens:
                if hmac.compare_digest(known, token):
                    return user
        raise Unauthorized("Unauthorized")
