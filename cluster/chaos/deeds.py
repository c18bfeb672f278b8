"""What a user does during an experiment, as data: the deeds beside the faults, and how each is done.

    {deed: delete-pod, pod: journal-1, force: true}     kubectl delete pod journal-1 --grace-period=0 --force
    {deed: scale, set: journal, replicas: 5}            kubectl scale sts journal --replicas=5
    {deed: restart, set: journal}                       kubectl rollout restart sts journal
    {deed: cordon, node: node-2}                        kubectl cordon node-2; taken back when the run heals

A forced deletion says "this process has ended" without asking its machine: what follows from it is reported as waived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from petset.cluster.api.objects import Object, uid_of
from petset.cluster.api.times import format_time
from petset.cluster.chaos.errors import BadFault
from petset.cluster.chaos.faults import is_name
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, Conflict, NotFound

RETRY_SECONDS = 0.3
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
DEEDS: Mapping[str, tuple[str, ...]] = {
    "delete-pod": ("pod", "force"),
    "scale": ("set", "replicas"),
    "restart": ("set",),
    "cordon": ("node",),
}
_OPTIONAL = ("force",)


@dataclass(frozen=True)
class Deed:
    """`fields` holds what its kind's row in DEEDS names, checked."""

    kind: str
    fields: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"deed": self.kind, **self.fields}


@dataclass(frozen=True)
class Done:
    """Uids of pods that the user deleted, and of those that were declared over by force.

    `error` says why nobody knows whether that happened.
    """

    deleted: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    error: str = ""


def parse_deed(mapping: Mapping[str, Any]) -> Deed:
    """Check a mapping. Raises BadFault with one line."""
    fields = {key: value for key, value in mapping.items() if key != "deed"}
    kind = mapping.get("deed")
    if not isinstance(kind, str) or kind not in DEEDS:
        raise BadFault(f"no deed {kind!r}; there are {', '.join(DEEDS)}")
    known = DEEDS[kind]
    for name in fields:
        if name not in known:
            raise BadFault(f"{kind} has no field {name!r}; it has {', '.join(known)}")
    for name in known:
        if name not in fields and name not in _OPTIONAL:
            raise BadFault(f"{kind} needs {name}")
        if name in fields and not _fits(name, fields[name]):
            raise BadFault(f"{kind}: {name} is {fields[name]!r}")
    return Deed(kind, fields)


def _fits(name: str, value: object) -> bool:
    if name == "force":
        return isinstance(value, bool)
    if name == "replicas":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1000
    return is_name(value)


async def perform(deed: Deed, client: Client, namespace: str, *, now: float, patience_seconds: float = 0.0) -> Done:
    """Do it as that user's command does, again and again while nobody answers, for so long. Raises the ApiError with
    which the server refuses; of a deletion to which nobody answers, the pods that it may have hit are in `Done`."""

    def call() -> Awaitable[Object]:
        return _write(deed, client, namespace, now=now)

    if deed.kind == "delete-pod":
        return await _delete_pod(deed, client, namespace, patience_seconds=patience_seconds)
    await persistently(call, patience_seconds)
    return Done()


def _write(deed: Deed, client: Client, namespace: str, *, now: float) -> Awaitable[Object]:
    fields = deed.fields
    if deed.kind == "cordon":
        return set_cordon(client, str(fields["node"]), cordoned=True)
    body: dict[str, Any] = {"spec": {"replicas": fields.get("replicas")}}
    if deed.kind == "restart":
        body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: format_time(now)}}}}}
    return client.patch("StatefulSet", str(fields["set"]), namespace, body=body)


async def _delete_pod(deed: Deed, client: Client, namespace: str, *, patience_seconds: float) -> Done:
    """The one pod that has the name at first, whichever try deletes it."""
    name, force = str(deed.fields["pod"]), bool(deed.fields.get("force"))
    uid = uid_of(await persistently(lambda: client.get("Pod", name, namespace), patience_seconds))
    options: Object = {"preconditions": {"uid": uid}} | ({"gracePeriodSeconds": 0} if force else {})
    unanswered = ""
    try:
        await persistently(lambda: client.delete("Pod", name, namespace, options=options), patience_seconds)
    except (NotFound, Conflict):
        pass  # it is gone, or another one has its name: an earlier try did it, or another user
    except ApiError as error:
        if error.definite:
            raise
        unanswered = str(error)
    return Done(forced=(uid,), error=unanswered) if force else Done(deleted=(uid,), error=unanswered)


async def persistently(call: Callable[[], Awaitable[Object]], patience_seconds: float) -> Object:
    """Call again and again while nobody answers, for so long. Raises the last ApiError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        try:
            return await call()
        except ApiError as error:
            if error.definite or loop.time() + RETRY_SECONDS > deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)


async def set_cordon(client: Client, node: str, *, cordoned: bool) -> Object:
    """Whether the scheduler passes a node by. Raises ApiError."""
    return await client.patch("Node", node, body={"spec": {"unschedulable": cordoned or None}})
