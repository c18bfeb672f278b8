"""What a plan asks the server itself about, before something that cannot be taken back.

A plan sees caches, and the caches of two kinds may stand at different revisions: a dependent can be visible before
its owner, a terminating claim before the pod that was bound to it a moment earlier. Where "it is not in my cache"
would destroy something, the plan puts a `ConfirmNone` (control/writes.py) in front of the write; these are the
questions it carries, values that compare by content.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.objects import Object, owner_references, uid_of


@dataclass(frozen=True)
class HasUid:
    """The object of exactly this uid, not another one that took its name."""

    uid: str

    def __call__(self, obj: Object) -> bool:
        return uid_of(obj) == self.uid


@dataclass(frozen=True)
class OwnedBy:
    """An object that names this uid among its ownerReferences."""

    uid: str

    def __call__(self, obj: Object) -> bool:
        return any(ref["uid"] == self.uid for ref in owner_references(obj))
