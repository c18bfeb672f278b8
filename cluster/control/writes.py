"""What a controller wants done: frozen values with preconditions, and nothing that acts.

A `plan_…` function returns an `Outcome`; the runner (runner.py) applies its writes in order and stops at the first
that fails, except for those marked `always` (a status that must be written even after an error, as the StatefulSet
controller does). A write's `said` event is recorded when it succeeded, its `failed` event when it did not. In the
text of `said`, `{name}` stands for the object's name as the server answered it (of use where it generated one); in the
text of `failed`, `{error}` for the error's message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from petset.cluster.api.objects import Object

PatchType = Literal["merge", "json", "strategic"]


@dataclass(frozen=True)
class Record:
    """An Event about an object, e.g. Normal `SuccessfulCreate` on a StatefulSet.

    `field_path` names the part that it is about, e.g. `spec.containers{kubia}`.
    """

    regarding: Object
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    field_path: str = ""


@dataclass(frozen=True)
class Create:
    """POST an object. With `exists_ok` an object of that name counts as done."""

    object: Object
    exists_ok: bool = False
    said: Record | None = None
    failed: Record | None = None
    always: bool = False


@dataclass(frozen=True)
class Update:
    """PUT a whole object, guarded by its uid and by the resourceVersion that it carries, if any; `subresource` is `""`
    or `"status"`."""

    object: Object
    subresource: str = ""
    said: Record | None = None
    failed: Record | None = None
    always: bool = False


@dataclass(frozen=True)
class Patch:
    """PATCH an object; a `uid` is a precondition (409 when another object took the name)."""

    kind: str
    namespace: str
    name: str
    body: Mapping[str, Any] | list[Any]
    type: PatchType = "merge"
    subresource: str = ""
    uid: str = ""
    said: Record | None = None
    failed: Record | None = None
    always: bool = False


@dataclass(frozen=True)
class Delete:
    """DELETE an object; one that is gone already, or was replaced (uid), counts as done.

    `grace_seconds` None leaves the choice to the object (a pod's terminationGracePeriodSeconds).
    `propagation` is `Background`, `Foreground`, `Orphan` or `""` for the kind's default.
    """

    kind: str
    namespace: str
    name: str
    uid: str = ""
    revision: str = ""
    grace_seconds: int | None = None
    propagation: str = ""
    said: Record | None = None
    failed: Record | None = None
    always: bool = False


@dataclass(frozen=True)
class Bind:
    """POST a pod's binding subresource: the scheduler's one write."""

    namespace: str
    name: str
    uid: str
    node: str
    said: Record | None = None
    failed: Record | None = None
    always: bool = False


@dataclass(frozen=True)
class ConfirmNone:
    """Not a write but a live look: go on only if the server has no object of `kind` for which `matching` holds.

    For decisions that a lagging cache must not make, such as collecting an object whose owner seems to be gone. With a
    `name` that one object is read (404 confirms, unless it `must_exist`), without it all objects of the kind in
    `namespace` (in all namespaces when that is empty too). `matching` is a pure function that compares by content.
    """

    kind: str
    namespace: str = ""
    name: str = ""
    matching: Callable[[Object], bool] = bool
    must_exist: bool = False


Write = Create | Update | Patch | Delete | Bind | Record | ConfirmNone


@dataclass(frozen=True)
class Outcome:
    """The answer of a plan: writes in order, and when (epoch seconds) to look again although nothing changed.

    `error` says that the plan could not be completed for now: the runner requeues the key with backoff.
    """

    writes: tuple[Write, ...] = ()
    again_at: float | None = None
    error: str = ""


NOTHING = Outcome()
