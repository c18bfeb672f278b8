"""What a request for a pod's logs or streams means, and its refusals in the API server's words (pure).

The rules and texts are those of pkg/registry/core/pod (strategy.go: LogLocation, ExecLocation, PortForwardLocation)
and of the kubelet's validateContainerLogStatus.
"""

from __future__ import annotations

from collections.abc import Mapping

from petset.cluster.api.objects import Object
from petset.cluster.api.times import parse_time
from petset.cluster.errors import ApiError, BadRequest, Invalid, NotFound

TERMINAL_PHASES = ("Succeeded", "Failed")
_STREAMS = {"": "", "All": "", "Stdout": "stdout", "Stderr": "stderr"}


def container_of(pod: Object, wanted: str) -> str:
    """The container that a request means. Raises BadRequest."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    groups = {field: [each["name"] for each in spec.get(field) or ()] for field in _CONTAINERS}
    if wanted:
        if any(wanted in names for names in groups.values()):
            return wanted
        raise BadRequest(f"container {wanted} is not valid for pod {name}")
    if len(groups["containers"]) == 1:
        return str(groups["containers"][0])
    choices = f"choose one of: [{' '.join(groups['containers'])}]"
    if groups["initContainers"]:
        choices += f" or one of the init containers: [{' '.join(groups['initContainers'])}]"
    raise BadRequest(f"a container name must be specified for pod {name}, {choices}")


_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def container_spec(pod: Object, name: str) -> Object:
    """The spec of a container that is there."""
    everyone = (each for field in _CONTAINERS for each in pod["spec"].get(field) or ())
    return next(each for each in everyone if each["name"] == name)


def must_run(pod: Object, *, what: str) -> None:
    """Raises BadRequest for a pod that has no node, or has ended (`what` "" allows that)."""
    name, phase = pod["metadata"]["name"], (pod.get("status") or {}).get("phase")
    if what and phase in TERMINAL_PHASES:
        raise BadRequest(f"cannot exec into a container in a completed pod; current phase is {phase}")
    if not pod["spec"].get("nodeName"):
        raise BadRequest(f"pod {name} does not have a host assigned")


def log_query(query: Mapping[str, str], now: float) -> list[tuple[str, str]]:
    """The kubelet's parameters from the client's (PodLogOptions). Raises Invalid, BadRequest."""
    sent = [(name, "true") for name in ("follow", "previous", "timestamps") if query.get(name, "") in ("true", "1")]
    for name, least in (("tailLines", 0), ("limitBytes", 1)):
        if name in query:
            sent.append((name, str(_number(query, name, least))))
    if "sinceSeconds" in query and "sinceTime" in query:
        raise _invalid("sinceTime", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
    if "sinceSeconds" in query:
        sent.append(("since", str(now - _number(query, "sinceSeconds", 1))))
    elif query.get("sinceTime"):
        try:
            sent.append(("since", str(parse_time(query["sinceTime"]))))
        except ValueError as error:
            raise BadRequest(f"sinceTime: {error}") from error
    if (stream := query.get("stream", "")) not in _STREAMS:
        raise _invalid("stream", f'Unsupported value: "{stream}": supported values: "All", "Stdout", "Stderr"')
    return [*sent, ("stream", _STREAMS[stream])] if _STREAMS[stream] else sent


def no_log(pod: Object, container: str, *, previous: bool) -> ApiError:
    """Why there is no log (kubelet_pods.go, validateContainerLogStatus)."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if previous:
        return BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
    fields = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    everyone = (each for field in fields for each in status.get(field) or ())
    found = next((each for each in everyone if each["name"] == container), None)
    waiting = ((found or {}).get("state") or {}).get("waiting")
    if waiting:
        reason = _PULL_REASONS.get(waiting.get("reason", ""), waiting.get("reason", ""))
        return BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {reason}')
    if found is None:
        return BadRequest(f'container "{container}" in pod "{name}" is not available')
    return NotFound(f'the log of container "{container}" in pod "{name}" is gone')


_PULL_REASONS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def _number(query: Mapping[str, str], name: str, least: int) -> int:
    try:
        number = int(query[name])
    except ValueError as error:
        raise BadRequest(f'strconv.ParseInt: parsing "{query[name]}": invalid syntax') from error
    if number < least:
        at_least = f"must be greater than or equal to {least}" if least == 0 else "must be greater than 0"
        raise _invalid(name, f"Invalid value: {number}: {at_least}")
    return number


def _invalid(field: str, message: str) -> Invalid:
    cause = {"reason": "FieldValueInvalid", "message": message, "field": field}
    return Invalid(
        f'PodLogOptions "" is invalid: {field}: {message}', {"kind": "PodLogOptions", "name": "", "causes": [cause]}
    )
