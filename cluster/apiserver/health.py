"""What `/healthz`, `/livez` and `/readyz` say, as kube-apiserver does (apiserver/pkg/server/healthz, pure).

    /readyz             ok
    /readyz/etcd        ok                      one check; 404 for one that there is not
    /readyz?verbose     [+]ping ok              every check on a line, then
                        readyz check passed

A server that answers has opened its store and made what every cluster has, so none of its checks can fail: a store that
cannot write says so to each writer instead.
"""

from __future__ import annotations

from collections.abc import Collection

from petset.cluster.errors import NotFound

_ALIVE = ("ping", "log", "etcd")
"""`etcd` is the store, whatever it is: the name that scripts look for."""
CHECKS: dict[str, tuple[str, ...]] = {
    "healthz": _ALIVE,
    "livez": _ALIVE,
    "readyz": (*_ALIVE, "etcd-readiness", "shutdown"),
}


def health(endpoint: str, check: str = "", *, is_verbose: bool = False, excluded: Collection[str] = ()) -> str:
    """The body of an answer. Raises NotFound for a check that there is not."""
    checks = CHECKS[endpoint]
    if check and check not in checks:
        raise NotFound("the server could not find the requested resource")
    if check or not is_verbose:
        return "ok"
    lines = [f"[+]{each} excluded: ok" if each in excluded else f"[+]{each} ok" for each in checks]
    unknown = sorted(set(excluded) - set(checks))
    if unknown:
        names = ", ".join(f'"{each}"' for each in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    return "\n".join([*lines, f"{endpoint} check passed\n"])
