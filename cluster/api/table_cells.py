"""The texts that Kubernetes' tables are made of: ages, labels, ports, access modes, lists that end in "more".

Sources: apimachinery's util/duration, pkg/printers/internalversion/printers.go, pkg/apis/core/helper (1.34).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from petset.cluster.api.objects import Object
from petset.cluster.api.quantities import canonical
from petset.cluster.api.selectors import selector_of
from petset.cluster.api.times import parse_time
from petset.cluster.errors import BadRequest

NONE: Final = "<none>"
UNSET: Final = "<unset>"
UNKNOWN: Final = "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400
_MODES: Final = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
"""In the order in which they are printed."""
_SHOWN: Final = 3
"""How many addresses or ports of an endpoint list are printed."""


def field(obj: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """The value at a dotted path; `default` when it, or anything before it, is absent or null."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return default if value is None else value


def human_duration(seconds: float) -> str:
    """duration.HumanDuration: about three significant digits, e.g. `45s`, `5m30s`, `12m`, `3h5m`, `2d4h`, `400d`."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole == -1 else "<invalid>"  # clocks may differ by a second
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _pair(whole, unit=_MINUTE, name="m", smaller=1, smaller_name="s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _pair(whole, unit=_HOUR, name="h", smaller=_MINUTE, smaller_name="m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _pair(whole, unit=_DAY, name="d", smaller=_HOUR, smaller_name="h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _pair(whole, unit=_YEAR, name="y", smaller=_DAY, smaller_name="d")
    return f"{whole // _YEAR}y"


def _pair(seconds: int, *, unit: int, name: str, smaller: int, smaller_name: str) -> str:
    count, rest = divmod(seconds, unit)
    return f"{count}{name}" + (f"{rest // smaller}{smaller_name}" if rest >= smaller else "")


def seconds_of(timestamp: Any) -> float | None:
    """A timestamp in seconds since the epoch; None when it is absent or unreadable."""
    try:
        return parse_time(timestamp) if timestamp else None
    except (TypeError, ValueError):
        return None


def since(timestamp: Any, now: float) -> str:
    """How long ago a timestamp was."""
    then = seconds_of(timestamp)
    return UNKNOWN if then is None else human_duration(now - then)


def age(obj: Object, now: float) -> str:
    return since(field(obj, "metadata.creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """`a=1,b=2`, sorted (labels.FormatLabels)."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector in the form of a query (metav1.FormatLabelSelector)."""
    try:
        return str(selector_of(selector)) or NONE
    except BadRequest:
        return "<error>"


def quantity_text(quantities: Mapping[str, Any], name: str) -> str:
    """One entry of a resource list in its canonical form; `0` when it is absent."""
    text = quantities.get(name, "0")
    try:
        return canonical(text)
    except ValueError:
        return str(text)


def access_modes_text(modes: Sequence[str]) -> str:
    """`RWO,RWX`: each mode once, in a fixed order (helper.GetAccessModesAsString)."""
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def names_text(containers: Iterable[Object]) -> str:
    return ",".join(str(each.get("name", "")) for each in containers)


def images_text(containers: Iterable[Object]) -> str:
    return ",".join(str(each.get("image", "")) for each in containers)


def service_ports_text(ports: Iterable[Object]) -> str:
    """`80:30080/TCP,81/UDP`: port, node port if any, protocol."""
    texts = []
    for port in ports:
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port', 0)}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def endpoints_text(subsets: Sequence[Object]) -> str:
    """The first addresses of an Endpoints object, with ports: `10.0.0.1:80,10.0.0.2:80`."""
    if not subsets:
        return NONE
    texts = []
    for subset in subsets:
        addresses = [str(each.get("ip", "")) for each in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        texts += (
            [f"{_bracketed(ip)}:{port.get('port', 0)}" for port in ports for ip in addresses] if ports else addresses
        )
    return _with_more(texts)


def first_text(texts: Sequence[str]) -> str:
    """The first few of a slice's ports or addresses."""
    return _with_more(texts) or UNSET


def _with_more(texts: Sequence[str]) -> str:
    more = f" + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else ""
    return ",".join(texts[:_SHOWN]) + more


def _bracketed(address: str) -> str:
    """An IPv6 address before a port stands in brackets (net.JoinHostPort)."""
    return f"[{address}]" if ":" in address else address
