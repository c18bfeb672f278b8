"""Services and DNS are equal to the ready pods, once the cluster is whole again.

    pods that a Service selects, Ready and not Terminating  =  ready addresses of its EndpointSlices
    SERVICE.NAMESPACE.svc.cluster.local                     =  the same addresses (headless), or the cluster IP
    POD.SERVICE.NAMESPACE.svc.cluster.local                 =  that pod's address

While trouble lasts, both may be behind; so only the last state is judged, which the run waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from petset.cluster.api.objects import Object, condition_is_true, is_terminating, labels_of, name_of
from petset.cluster.api.selectors import selector_of_labels
from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.oracles.verdict import Verdict, Violation
from petset.cluster.controllers.endpoints import SERVICE_NAME

DOMAIN = "cluster.local"


def judge(seen: Observations) -> Verdict:
    """Every Service with a selector in the workload's namespace, and every name that was asked for."""
    wanted = wanted_names(seen.final)
    slices = list(wrong_slices(seen.final))
    answers = {answer.name: answer for answer in seen.names}
    names = [
        f"{name} is answered with {', '.join(answers[name].addresses) or answers[name].error or 'nothing'}, "
        f"not with {', '.join(addresses) or 'nothing'}"
        for name, addresses in wanted.items()
        if name in answers and answers[name].addresses != addresses
    ]
    at = seen.converged_at or seen.healed_at
    names_of_pods = [name_of(pod) for pod in seen.final_of("Pod")]
    evidence = {
        "objects": [_brief(obj) for obj in seen.final if obj["kind"] in ("EndpointSlice", "Pod")],
        "events": {name: seen.events_about(name) for name in names_of_pods},
    }
    return Verdict(
        "services",
        "services and DNS show exactly the ready pods after convergence",
        judged=len(_services(seen.final)) + len(answers),
        violations=tuple(Violation(what, at, evidence=evidence) for what in (*slices, *names)),
        notes=() if answers or not wanted else ("no pod asked the DNS",),
    )


def wrong_slices(objects: list[Object]) -> Iterator[str]:
    """What the EndpointSlices among these objects say wrongly of the pods among them."""
    for service in _services(objects):
        ready = {_address(pod) for pod in ready_pods(service, objects)}
        shown = {
            address
            for each in objects
            if each["kind"] == "EndpointSlice" and labels_of(each).get(SERVICE_NAME) == name_of(service)
            for endpoint in each.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready")
            for address in endpoint["addresses"]
        }
        if missing := sorted(ready - shown):
            yield f"service {name_of(service)} lacks the ready pods {', '.join(missing)}"
        if extra := sorted(shown - ready):
            yield f"service {name_of(service)} has {', '.join(extra)}, which are no ready pods"


def wanted_names(objects: list[Object]) -> dict[str, tuple[str, ...]]:
    """Every name that these services must have in DNS, with its addresses, sorted."""
    wanted: dict[str, tuple[str, ...]] = {}
    for service in _services(objects):
        name = f"{name_of(service)}.{service['metadata']['namespace']}.svc.{DOMAIN}"
        pods = ready_pods(service, objects)
        if service["spec"].get("clusterIP") != "None":
            wanted[name] = (service["spec"]["clusterIP"],)
            continue
        wanted[name] = tuple(sorted(_address(pod) for pod in pods))
        for pod in pods:
            if pod["spec"].get("subdomain") == name_of(service):
                wanted[f"{pod['spec'].get('hostname') or name_of(pod)}.{name}"] = (_address(pod),)
    return wanted


def ready_pods(service: Object, objects: list[Object]) -> list[Object]:
    """The pods that a Service must show."""
    selector = selector_of_labels(service["spec"].get("selector"))
    publishes = bool(service["spec"].get("publishNotReadyAddresses"))
    return [
        pod
        for pod in objects
        if pod["kind"] == "Pod"
        and selector.selects(pod)
        and _address(pod)
        and (publishes or (condition_is_true(pod, "Ready") and not is_terminating(pod)))
    ]


def _services(objects: list[Object]) -> list[Object]:
    return [obj for obj in objects if obj["kind"] == "Service" and obj["spec"].get("selector")]


def _address(pod: Mapping[str, Object]) -> str:
    return str((pod.get("status") or {}).get("podIP") or "")


def _brief(obj: Object) -> Object:
    brief = {key: value for key, value in obj.items() if key in ("kind", "endpoints")}
    status = obj.get("status") or {}
    return brief | {"name": name_of(obj), "podIP": status.get("podIP"), "conditions": status.get("conditions")}
