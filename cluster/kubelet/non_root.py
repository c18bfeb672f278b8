"""runAsNonRoot: whether a container may start as the user that it would run as (pure).

    runAsUser, the container's or the pod's ─▶ not 0
    else the image's user                   ─▶ a number other than 0; a name tells nobody who that is

An image that names no user runs as root. Rules and texts: verifyRunAsNonRoot in
kuberuntime/security_context.go.
"""

from __future__ import annotations

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.kubelet.downward import ConfigError


def refuse_root(pod: Object, container: Object, image_user: str) -> None:
    """`image_user` as images have it: a name or number, perhaps with `:group`; "" for none. Raises ConfigError.

    The machine's own catalogue knows only users with a number, so there a name is never in the way.
    """
    context = security_context(pod, container)
    if not context.get("runAsNonRoot"):
        return
    where = f'(pod: "{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})", container: {container["name"]})'
    if context.get("runAsUser") is not None:
        if context["runAsUser"] == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    user = image_user.partition(":")[0] or "0"
    if not user.isdecimal():
        reason = f"image has non-numeric user ({user}), cannot verify user is non-root"
        raise ConfigError(f"container has runAsNonRoot and {reason} {where}")
    if int(user) == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")


def security_context(pod: Object, container: Object) -> Object:
    """What a container says of its security, and the pod where it says nothing."""
    own = {name: value for name, value in (container.get("securityContext") or {}).items() if value is not None}
    return {**(pod["spec"].get("securityContext") or {}), **own}
