"""Who is asking: bearer tokens, compared in constant time. Every known user may do everything; nobody else anything."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from petset.cluster.apiserver.service_account_tokens import TokenIssuer
from petset.cluster.errors import Unauthorized


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()


class TokenAuthenticator:
    """`tokens` maps each token to its user; `issuer` made the tokens of ServiceAccounts."""

    def __init__(self, tokens: Mapping[str, User], issuer: TokenIssuer) -> None:
        self._tokens = [(token.encode(), user) for token, user in tokens.items()]
        self._names = {user.name for user in tokens.values()}
        self.issuer = issuer

    def authenticate(self, authorization: str) -> User:
        """The user of an Authorization header. Raises Unauthorized."""
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            token = given.strip().encode(errors="replace")
            for known, user in self._tokens:
                if hmac.compare_digest(known, token):
                    return user
            if account := self.issuer.namespace_and_name(token.decode()):
                namespace, name = account
                groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
                return User(f"system:serviceaccount:{namespace}:{name}", groups)
        raise Unauthorized("Unauthorized")

    def knows(self, name: str) -> bool:
        """Whether a user of this name could be asking."""
        return name in self._names or name.startswith("system:serviceaccount:")
