"""The sandbox that a pod asks for: names, DNS settings, hosts and volumes (pure; kubelet/network/dns).

dnsPolicy ClusterFirst             the cluster's DNS server; <namespace>.svc.<zone>, svc.<zone>, <zone>
          Default                  the machine's own resolver
          None                     only what dnsConfig says
dnsConfig is merged into each; more than one nameserver cannot be given to a sandbox: the first one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from petset.cluster.api.cri import ContainerStatus, PortMapping, SandboxSpec, SandboxStatus, Volume
from petset.cluster.api.objects import Object, labels_of, name_of, namespace_of, uid_of
from petset.cluster.kubelet.config import KubeletConfig
from petset.cluster.kubelet.facts import every_container

MAX_HOSTNAME = 63
_PROGRESS = {"created": 0, "running": 1, "exited": 2}


def hostname_of(pod: Object) -> str:
    """`spec.hostname` or the pod's name, cut to what a host may be called; on the host's network, the host's."""
    if pod["spec"].get("hostNetwork") and (node := pod["spec"].get("nodeName")):
        return str(node)
    return str(pod["spec"].get("hostname") or name_of(pod))[:MAX_HOSTNAME].rstrip("-.")


def sandbox_spec(pod: Object, config: KubeletConfig, volumes: tuple[Volume, ...]) -> SandboxSpec:
    spec, namespace = pod["spec"], namespace_of(pod)
    hostname, subdomain = hostname_of(pod), spec.get("subdomain") or ""
    nameserver, port, searches, options = _dns(spec, namespace, config)
    return SandboxSpec(
        uid=uid_of(pod),
        namespace=namespace,
        name=name_of(pod),
        hostname=hostname,
        nameserver=nameserver,
        nameserver_port=port,
        searches=searches,
        dns_options=options,
        hosts=tuple((each["ip"], " ".join(each.get("hostnames") or ())) for each in spec.get("hostAliases") or ()),
        subdomain_name=f"{hostname}.{subdomain}.{namespace}.svc.{config.zone}" if subdomain else "",
        host_network=bool(spec.get("hostNetwork")),
        host_processes=bool(spec.get("hostPID")),
        volumes=volumes,
        ports=tuple(_port_mappings(pod)),
        group=_group(pod),
        labels=labels_of(pod),
    )


def _group(pod: Object) -> int | None:
    """The group of the volumes. A container with a user of its own sees all files as its own, group and all."""
    contexts = [pod["spec"], *every_container(pod)]
    if any((each.get("securityContext") or {}).get("runAsUser") for each in contexts):
        return None
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)


def _port_mappings(pod: Object) -> Iterable[PortMapping]:
    """The hostPorts of all containers that run together; SCTP is left out."""
    for container in every_container(pod):
        for port in container.get("ports") or ():
            if port.get("hostPort") and port.get("protocol", "TCP") in ("TCP", "UDP"):
                yield PortMapping(
                    port.get("protocol", "TCP"), port["hostPort"], port["containerPort"], port.get("hostIP") or ""
                )


def with_container(sandbox: SandboxStatus, container: ContainerStatus) -> SandboxStatus:
    """The sandbox after news about one container; older news than what is known changes nothing."""
    return replace(sandbox, containers=_merged(sandbox.containers, [container]))


def with_old_news(sandbox: SandboxStatus, older: SandboxStatus) -> SandboxStatus:
    """What is known, completed from a status that may have been taken before it."""
    return replace(sandbox, containers=_merged(sandbox.containers, older.containers))


def newly_exited(old: SandboxStatus | None, new: SandboxStatus | None) -> bool:
    """A container that ran according to `old` does not any more."""
    running = {each.id for each in (old.containers if old else ()) if each.state != "exited"}
    return bool(running - {each.id for each in (new.containers if new else ()) if each.state != "exited"})


def _merged(known: Iterable[ContainerStatus], news: Iterable[ContainerStatus]) -> tuple[ContainerStatus, ...]:
    """Both, oldest attempt first; of two statuses of one container the one that is further in its life."""
    by_id = {each.id: each for each in known}
    for each in news:
        present = by_id.get(each.id)
        if present is None or _PROGRESS[each.state] > _PROGRESS[present.state]:
            by_id[each.id] = each
    return tuple(sorted(by_id.values(), key=lambda each: (each.attempt, each.started_at, each.name)))


def _dns(spec: Object, namespace: str, config: KubeletConfig) -> tuple[str, int, tuple[str, ...], tuple[str, ...]]:
    """(nameserver, its port, search domains, options)"""
    policy, extra = spec.get("dnsPolicy", "ClusterFirst"), spec.get("dnsConfig") or {}
    on_host = bool(spec.get("hostNetwork")) and policy == "ClusterFirst"
    nameserver, port = "", 53
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    if policy.startswith("ClusterFirst") and not on_host:
        nameserver, port = config.nameserver, config.nameserver_port
        searches = (f"{namespace}.svc.{config.zone}", f"svc.{config.zone}", config.zone)
        options = ("ndots:5",)
    if extra.get("nameservers") and not nameserver:
        nameserver = extra["nameservers"][0]
    searches = tuple(dict.fromkeys((*searches, *(extra.get("searches") or ()))))
    return nameserver, port, searches, _options(options, extra.get("options") or ())


def _options(own: tuple[str, ...], extra: Iterable[Object]) -> tuple[str, ...]:
    """Resolver options; a pod's own value replaces the kubelet's."""
    merged = dict(each.partition(":")[::2] for each in own)
    merged |= {each["name"]: str(each.get("value") or "") for each in extra}
    return tuple(f"{name}:{value}" if value else name for name, value in merged.items())
