"""Tokens of ServiceAccounts for the volumes of pods (pkg/kubelet/token, Manager).

A token is asked for once per pod and wish, bound to the pod, and again when RENEW_SHARE of its life is over or
MAX_AGE_SECONDS have passed; until then, and while the API server is silent, the one that is there serves. At most
MAX_TOKENS are kept; the longest unused goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.api.times import parse_time
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError
from petset.cluster.kubelet.volume_files import TokenWish

RENEW_SHARE = 0.8
MAX_AGE_SECONDS = 24 * 3600.0
MAX_TOKENS = 2000


@dataclass(frozen=True)
class _Kept:
    request: Object
    renew_at: float


class TokenCache:
    """The tokens of one kubelet."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: OrderedDict[tuple[str, TokenWish], _Kept] = OrderedDict()

    async def get(self, pod: Object, wish: TokenWish) -> Object:
        """The TokenRequest with its token. Raises NotFound (there is no such account), BadRequest, Unavailable."""
        key, now = (uid_of(pod), wish), self._clock.now()
        kept = self._kept.get(key)
        if kept is None or now >= kept.renew_at:
            try:
                kept = self._keep(await self._ask(pod, wish), now)
            except ApiError as error:
                if kept is None or error.definite:
                    raise
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_TOKENS:
            self._kept.popitem(last=False)
        return kept.request

    async def _ask(self, pod: Object, wish: TokenWish) -> Object:
        bound_to = {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)}
        spec = {
            "audiences": [wish.audience] if wish.audience else [],
            "expirationSeconds": wish.seconds,
            "boundObjectRef": bound_to,
        }
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": wish.account, "namespace": namespace_of(pod)},
            "spec": spec,
        }
        return await self._client.create(request, subresource="token", name=wish.account)

    def _keep(self, request: Object, now: float) -> _Kept:
        expires_at = parse_time(request["status"]["expirationTimestamp"])
        return _Kept(request, min(now + (expires_at - now) * RENEW_SHARE, now + MAX_AGE_SECONDS))
