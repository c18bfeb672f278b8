"""Tokens of ServiceAccounts (the TokenRequest API): short-lived, signed, and good against this API server only.

A token is a JWT with the claims that Kubernetes puts in, signed with the cluster's own key (HS256), so that it stays
good over restarts of the API server. Left out: OIDC discovery; a token that is bound to a pod says so, and outlives it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import orjson

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.api.times import format_time
from petset.cluster.clock import Clock
from petset.cluster.errors import BadRequest

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEFAULT_SECONDS = 3600
MIN_SECONDS = 600
MAX_SECONDS = 1 << 32
_HEADER = {"alg": "HS256", "typ": "JWT"}


class TokenIssuer:
    """Signs and checks tokens with one secret key."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, account: Object, request: Object) -> Object:
        """The TokenRequest with its status: a token for a ServiceAccount. Raises BadRequest."""
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or DEFAULT_SECONDS
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise BadRequest(f"spec.expirationSeconds: Invalid value: {seconds}: may not specify a duration less than "
                             "10 minutes or larger than 2^32 seconds")  # fmt: skip
        now = int(self._clock.now())
        namespace, name = namespace_of(account), name_of(account)
        audiences = spec.get("audiences") or [ISSUER]
        bound = _bound_claim(spec.get("boundObjectRef") or {})
        claims = {
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": uid_of(account)},
                **bound,
            },
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        status = {"token": self._signed(claims), "expirationTimestamp": format_time(now + seconds)}
        spec = {**spec, "audiences": audiences, "expirationSeconds": seconds}
        return {**request, "metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}

    def namespace_and_name(self, token: str) -> tuple[str, str] | None:
        """Whose token it is; None when it was not made here, not for this API server, or has expired."""
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(body).encode(), signature.encode()):
            return None
        claims = orjson.loads(_unpacked(body.partition(".")[2]))
        if claims["exp"] < self._clock.now() or ISSUER not in claims["aud"]:
            return None
        account = claims["kubernetes.io"]
        return account["namespace"], account["serviceaccount"]["name"]

    def _signed(self, claims: dict[str, Any]) -> str:
        body = f"{_packed(orjson.dumps(_HEADER))}.{_packed(orjson.dumps(claims))}"
        return f"{body}.{self._signature(body)}"

    def _signature(self, body: str) -> str:
        return _packed(hmac.new(self._key, body.encode(), hashlib.sha256).digest())


def _bound_claim(reference: Object) -> Object:
    """`{"pod": {"name", "uid"}}` for a token that belongs to a pod; nothing for any other."""
    if not reference.get("kind"):
        return {}
    return {str(reference["kind"]).lower(): {"name": reference.get("name", ""), "uid": reference.get("uid", "")}}


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
