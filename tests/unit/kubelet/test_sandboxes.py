from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.kubelet.config import KubeletConfig
from petset.cluster.kubelet.sandboxes import hostname_of, newly_exited, sandbox_spec, with_container, with_old_news
from tests.unit.kubelet.builders import attempt, container, exited, pod, sandbox

CONFIG = KubeletConfig(nameserver="10.96.0.10", nameserver_port=53, zone="cluster.local")
CLUSTER_SEARCHES = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


@pytest.mark.parametrize(
    ("of_pod", "of_container", "group"),
    [
        pytest.param({}, {}, None, id="none"),
        pytest.param({"fsGroup": 2000}, {}, 2000, id="fsGroup"),
        pytest.param({"fsGroup": 0, "runAsUser": 0}, {}, 0, id="root's"),
        pytest.param({"fsGroup": 2000, "runAsUser": 1000}, {}, None, id="a user sees all files as its own"),
        pytest.param({"fsGroup": 2000}, {"runAsUser": 1000}, None, id="so does a container's"),
    ],
)
def test_the_group_of_the_volumes(of_pod: Object, of_container: Object, group: int | None) -> None:
    owner = pod(container(securityContext=of_container), securityContext=of_pod)
    assert sandbox_spec(owner, CONFIG, ()).group == group


@pytest.mark.parametrize(
    ("spec", "nameserver", "searches", "options"),
    [
        pytest.param({}, "10.96.0.10", CLUSTER_SEARCHES, ("ndots:5",), id="ClusterFirst"),
        pytest.param({"dnsPolicy": "Default"}, "", (), (), id="Default"),
        pytest.param({"hostNetwork": True}, "", (), (), id="ClusterFirst on the host network is Default"),
        pytest.param(
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            "10.96.0.10", CLUSTER_SEARCHES, ("ndots:5",), id="ClusterFirstWithHostNet",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["example.com"]}},
            "9.9.9.9", ("example.com",), (), id="None takes only the dnsConfig",
        ),
        pytest.param(
            {"dnsConfig": {"searches": ["example.com"], "options": [{"name": "ndots", "value": "2"}, {"name": "x"}]}},
            "10.96.0.10", (*CLUSTER_SEARCHES, "example.com"), ("ndots:2", "x"), id="dnsConfig is merged",
        ),
    ],
)  # fmt: skip
def test_dns_settings(
    spec: dict[str, Any], nameserver: str, searches: tuple[str, ...], options: tuple[str, ...]
) -> None:
    made = sandbox_spec(pod(**spec), CONFIG, ())
    assert (made.nameserver, made.searches, made.dns_options) == (nameserver, searches, options)


def test_names() -> None:
    made = sandbox_spec(pod(hostname="pet", subdomain="pets", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]),
                        CONFIG, ())  # fmt: skip
    assert (made.hostname, made.subdomain_name) == ("pet", "pet.pets.default.svc.cluster.local")
    assert made.hosts == (("1.2.3.4", "a b"),)
    assert sandbox_spec(pod(), CONFIG, ()).subdomain_name == ""
    assert hostname_of({"metadata": {"name": "x" * 62 + "-y"}, "spec": {}}) == "x" * 62


def test_older_news_about_a_container_change_nothing() -> None:
    ended = sandbox(exited())
    assert with_container(ended, attempt()) == ended
    assert with_old_news(ended, sandbox(attempt(), attempt("b"))) == sandbox(attempt("b"), exited())


def test_an_exit_is_noticed_once() -> None:
    assert newly_exited(sandbox(attempt()), sandbox(exited()))
    assert newly_exited(sandbox(attempt()), None)
    assert not newly_exited(sandbox(exited()), sandbox(exited()))
    assert not newly_exited(None, sandbox(exited()))
