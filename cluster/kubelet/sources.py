"""The objects that pods refer to, fetched when a pod needs them and kept for a moment.

An answer is used for FRESH_SECONDS, but claims and volumes are asked for each time: one of the same name may have taken
their place, and a pod with the volume of its predecessor's claim would write into what is being removed. When the API
server does not answer, the last known one serves, however old, so that containers restart without it. At most
MAX_OBJECTS answers are kept; the longest unused goes first.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from petset.cluster.api.objects import Object, is_terminating, namespace_of
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, BadRequest, Forbidden, NotFound, Unavailable
from petset.cluster.kubelet.tokens import TokenCache
from petset.cluster.kubelet.volume_files import TOKEN, Needed, needed_by, tokens_needed
from petset.cluster.kubelet.volumes import VolumeNotReady, bound_volumes, needed_objects

FRESH_SECONDS = 1.0
_NEVER_OLD = frozenset({"PersistentVolumeClaim", "PersistentVolume"})
MAX_OBJECTS = 2000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    objects: list[Object]
    at: float


class SourceCache:
    """What the API server said about ConfigMaps, Secrets, claims, volumes and services."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens = TokenCache(client, clock)
        self._answers: OrderedDict[tuple[str, str, str], _Answer] = OrderedDict()

    async def for_containers(self, pod: Object) -> dict[tuple[str, str], Object]:
        """The ConfigMaps and Secrets of a pod by (kind, name); missing ones are absent.

        Raises Unavailable for one that was never seen.
        """
        wanted = [each for each in needed_objects(pod) if each.kind not in _NEVER_OLD]
        return await self._get_all(wanted, namespace_of(pod))

    async def for_files(self, pod: Object) -> dict[tuple[str, str], Object]:
        """What the files of a pod's volumes are made of: ConfigMaps, Secrets, and tokens.

        Raises VolumeNotReady, Unavailable.
        """
        volumes = pod["spec"].get("volumes") or ()
        found = await self._get_all([each for volume in volumes for each in needed_by(volume)], namespace_of(pod))
        return found | await self._get_tokens(pod)

    async def for_volumes(self, pod: Object) -> dict[tuple[str, str], Object]:
        """Everything for a pod's volumes and containers, and the PersistentVolumes of its claims.

        Raises VolumeNotReady, Unavailable.
        """
        found = await self._get_all(needed_objects(pod), namespace_of(pod)) | await self._get_tokens(pod)
        for name in bound_volumes(pod, found):
            for obj in await self._get("PersistentVolume", name, ""):
                found["PersistentVolume", name] = obj
        return found

    async def services(self, namespace: str) -> list[Object]:
        """The services of a namespace; none when the API server never answered."""

        async def ask() -> list[Object]:
            listing = await self._client.list("Service", namespace)
            return [each for each in listing.items if not is_terminating(each)]

        try:
            return await self._answered(("Service", namespace, ""), ask)
        except Unavailable as error:
            log.info("services of namespace %s are unknown: %s", namespace, error)
            return []

    async def _get_all(self, wanted: list[Needed], namespace: str) -> dict[tuple[str, str], Object]:
        found = {}
        for needed in dict.fromkeys(wanted):
            for obj in await self._get(needed.kind, needed.name, namespace):
                found[needed.kind, needed.name] = obj
        return found

    async def _get_tokens(self, pod: Object) -> dict[tuple[str, str], Object]:
        found = {}
        for wish in tokens_needed(pod):
            try:
                found[TOKEN, wish.name] = await self._tokens.get(pod, wish)
            except NotFound:
                continue
            except (BadRequest, Forbidden) as error:
                raise VolumeNotReady(f"MountVolume.SetUp failed : failed to fetch token: {error}") from error
        return found

    async def _get(self, kind: str, name: str, namespace: str) -> list[Object]:
        """The object, or nothing."""

        async def ask() -> list[Object]:
            try:
                return [await self._client.get(kind, name, namespace)]
            except NotFound:
                return []

        return await self._answered((kind, namespace, name), ask)

    async def _answered(self, key: tuple[str, str, str], ask: Callable[[], Awaitable[list[Object]]]) -> list[Object]:
        known, now = self._answers.get(key), self._clock.now()
        kind, _, _ = key
        if kind not in _NEVER_OLD and known is not None and known.objects and now < known.at + FRESH_SECONDS:
            return known.objects
        try:
            objects = await ask()
        except ApiError as error:
            if known is None or error.definite:
                raise
            return known.objects
        self._answers[key] = _Answer(objects, now)
        self._answers.move_to_end(key)
        while len(self._answers) > MAX_OBJECTS:
            self._answers.popitem(last=False)
        return objects
