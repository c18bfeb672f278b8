"""Questions that are answered and never stored: who am I, and may I? And requests that must say who makes them.

Every user that the cluster knows may do everything (authentication.py), so the answers are simple: allowed for those,
denied for everybody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.authentication import TokenAuthenticator, User
from petset.cluster.apiserver.bodies import struct_of
from petset.cluster.errors import Unauthorized

_EVERYTHING: dict[str, Any] = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}


class Reviews:
    """Answers reviews by what the authenticator knows."""

    def __init__(self, authenticator: TokenAuthenticator) -> None:
        self._authenticator = authenticator
        self._answers: dict[str, Callable[[Object, User], Object]] = {
            "SelfSubjectReview": lambda spec, user: {"userInfo": _user_info(user)},
            "SelfSubjectAccessReview": lambda spec, user: {"allowed": True},
            "SelfSubjectRulesReview": lambda spec, user: _EVERYTHING,
            "SubjectAccessReview": self._access,
            "LocalSubjectAccessReview": self._access,
            "TokenReview": self._token,
        }

    def answer(self, kind: Kind, review: Object, user: User) -> Object:
        """The review with its status; `review` is a decoded object of one of the review kinds."""
        return {**review, "status": self._answers[kind.kind](review.get("spec") or {}, user)}

    def _access(self, spec: Object, user: User) -> Object:
        name, groups = spec.get("user") or "", spec.get("groups") or []
        if self._authenticator.knows(name) or "system:masters" in groups:
            return {"allowed": True}
        return {"allowed": False, "reason": f'user "{name}" is not known to this cluster'}

    def _token(self, spec: Object, user: User) -> Object:
        try:
            found = self._authenticator.authenticate(f"Bearer {spec.get('token') or ''}")
        except Unauthorized:
            return {"authenticated": False, "error": "the token is not valid"}
        return {"authenticated": True, "user": _user_info(found)}


def requested_by(user: User, body: Any) -> Any:
    """A CertificateSigningRequest that tells who makes it, whatever it says itself (certificates' strategy.go)."""
    if not isinstance(body, dict):
        return body
    return {**body, "spec": {**struct_of(body, "spec"), **_user_info(user)}}


def _user_info(user: User) -> Object:
    return {"username": user.name, "groups": [*user.groups, "system:authenticated"]}
