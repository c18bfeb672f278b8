"""Every kind of Service, and every resolver that pods bring along, on a whole cluster in namespaces: asked once, from
inside a pod of the Kubernetes namespace `asked`, with the host's own programs; each answer is a test.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from petset.cluster.network.kernel import probe
from tests.on_ray.driver import RealCluster, eventually
from tests.on_ray.resolvers import (
    FOLDER,
    GLIBC_LOOKUP,
    NEGATIVE_TTL_SECONDS,
    OUTSIDE_ADDRESS,
    OUTSIDE_NAME,
    TTL_SECONDS,
    asker,
    config_map,
    musl_lookup,
)

REFUSAL = probe(only_needed=True).refusal
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}")

NAMESPACE = "asked"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
Z = "svc.cluster.local"
HERE = f"{NAMESPACE}.{Z}"
SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "kubia"},
    "spec": {
        "serviceName": "kubia",
        "replicas": 2,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "kubia"}},
        "template": {
            "metadata": {"labels": {"app": "kubia"}},
            "spec": {
                "containers": [
                    {
                        "name": "kubia",
                        "image": "luksa/kubia-pet",
                        "ports": [{"name": "web", "containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    }
                ]
            },
        },
    },
}
MINE: dict[str, Any] = {"selector": {"app": "kubia"}}
WEB: dict[str, Any] = {"port": 80, "targetPort": 8080}
SERVICES: dict[str, dict[str, Any]] = {
    "kubia": {**MINE, "clusterIP": "None", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    "kubia-state": {**MINE, "clusterIP": "None", "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
    "front": {**MINE, "ports": [{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", **WEB, "port": 81}]},
    "ports": {**MINE, "type": "NodePort", "ports": [WEB]},
    "balanced": {**MINE, "type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [WEB]},
    "alias": {"type": "ExternalName", "externalName": f"front.{HERE}"},
    "by-hand": {"ports": [WEB]},
    "legacy": {"ports": [WEB]},
    "dual": {**MINE, "ipFamilyPolicy": "PreferDualStack", "ports": [WEB]},
    "nobody": {"selector": {"app": "nobody"}, "ports": [WEB]},
    "never": {"selector": {"app": "never"}, "clusterIP": "None", "ports": [WEB]},
    "early": {"selector": {"app": "never"}, "clusterIP": "None", "publishNotReadyAddresses": True, "ports": [WEB]},
}
NEVER_READY = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "never", "labels": {"app": "never"}},
    "spec": {
        "containers": [{"name": "main", "image": "luksa/kubia-pet", "readinessProbe": {"tcpSocket": {"port": 9}}}]
    },
}

LOOKUPS = {
    "front": "{front}",
    "kubia": "{kubia-0}\n{kubia-1}",
    "kubia-1.kubia": "{kubia-1}",
    "{dashed kubia-0}.kubia-state": "{kubia-0}",
    "kube-dns.kube-system": "10.96.0.10",
    f"kubernetes.default.{Z}.": "10.96.0.1",
    "alias": "{front}",
    "early": "{never}",
    "never": "no such name",
    "missing.kubia": "no such name",
    OUTSIDE_NAME: OUTSIDE_ADDRESS,
}
"""What every resolver is asked by its short name, and finds through search list and ndots."""
NO_SUCH_NAME = {"glibc": "Name or service not known", "musl": "Name does not resolve"}
DIGS = {
    f"SRV _http._tcp.kubia.{HERE} +short": f"0 50 8080 kubia-0.kubia.{HERE}.\n0 50 8080 kubia-1.kubia.{HERE}.",
    f"SRV kubia-state.{HERE} +short": f"0 50 8080 {{dashed kubia-0}}.kubia-state.{HERE}.\n"
    f"0 50 8080 {{dashed kubia-1}}.kubia-state.{HERE}.",
    f"kubia-0.kubia.{HERE} +short +tcp": "{kubia-0}",
    f"KUBIA-0.kUbIa.{HERE} +short +noedns": "{kubia-0}",
    "kubia-0.kubia +search +short": "{kubia-0}",
    "-x {front} +short": f"front.{HERE}.",
    f"CNAME alias.{HERE} +short": f"front.{HERE}.",
    "TXT dns-version.cluster.local +short": '"1.1.0"',
    f"kubia-0.kubia.{HERE} +noall +answer": f"kubia-0.kubia.{HERE}. {TTL_SECONDS} IN A {{kubia-0}}",
    f"missing.{HERE} +noall +authority": "cluster.local. {negative} IN SOA ns.dns.cluster.local. "
    "hostmaster.cluster.local. {serial} 7200 1800 86400 {negative}",
    "AXFR cluster.local +short": "; Transfer failed.",
}
NODE = """
const dns = require('dns').promises;
(async () => {
  const found = await dns.resolveSrv('_http._tcp.kubia.asked.svc.cluster.local');
  const peers = found.map(each => each.name + ':' + each.port).sort();
  const { address } = await dns.lookup('kubia-1.kubia');
  const missing = await dns.resolve4('missing.asked.svc.cluster.local').catch(error => error.code);
  console.log(peers.join(' ') + ' ' + address + ' ' + missing);
})();
"""
FETCH = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode().split()[0])
except urllib.error.URLError as error:
    print(error.reason)
"""
FETCH_API = """
import json, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
request = urllib.request.Request("https://kubernetes.default.svc/api/v1/namespaces/asked/services/front")
request.add_header("Authorization", "Bearer " + open(folder + "token").read())
context = ssl.create_default_context(cafile=folder + "ca.crt")
print(json.load(urllib.request.urlopen(request, context=context, timeout=10))["metadata"]["name"])
"""
FETCHED = {
    **dict.fromkeys(("front", "front:81", "ports", "balanced", "alias", "by-hand", "legacy", "dual"), "You've"),
    "{balancer}": "You've",
    "kubia-0.kubia:8080": "You've",
    "nobody": "[Errno 111] Connection refused",
}


@pytest.fixture(scope="module")
def cluster(shared_in_namespaces: RealCluster) -> Iterator[RealCluster]:
    with shared_in_namespaces.namespace(NAMESPACE):
        for name, spec in SERVICES.items():
            shared_in_namespaces.request(f"{CORE}/services", {"metadata": {"name": name}, "spec": spec})
        shared_in_namespaces.request(SETS, SET)
        shared_in_namespaces.request(f"{CORE}/pods", NEVER_READY)
        yield shared_in_namespaces


@pytest.fixture(scope="module")
def facts(cluster: RealCluster) -> dict[str, str]:
    """Addresses, once all pods have theirs and those of the set are ready."""

    def pods() -> dict[str, str]:
        items = cluster.request(f"{CORE}/pods")["items"]
        return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in items}

    def is_up() -> bool:
        status = cluster.request(f"{SETS}/kubia")["status"]
        early = cluster.request(f"{CORE}/endpoints/early").get("subsets")
        return status.get("readyReplicas") == 2 and bool(early) and all(pods().values())

    eventually(is_up, "every pod is where it should be")
    made = pods()
    made |= {f"dashed {name}": address.replace(".", "-") for name, address in made.items()}
    made["front"] = cluster.request(f"{CORE}/services/front")["spec"]["clusterIP"]
    balanced = cluster.request(f"{CORE}/services/balanced")
    made["balancer"] = balanced["status"]["loadBalancer"]["ingress"][0]["ip"]
    made["negative"] = str(NEGATIVE_TTL_SECONDS)
    return made


@pytest.fixture(scope="module")
def answers(cluster: RealCluster, facts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every program said, by the key of its test."""
    publish_by_hand(cluster, facts)
    commands = {f"glibc {name}": ["python3", "-c", GLIBC_LOOKUP, name.format_map(facts)] for name in LOOKUPS}
    commands |= {f"musl {name}": [f"{FOLDER}/musl-lookup", name.format_map(facts)] for name in LOOKUPS}
    commands |= {f"fetch {name}": ["python3", "-c", FETCH, f"http://{name.format_map(facts)}/"] for name in FETCHED}
    commands["api"] = ["python3", "-c", FETCH_API]
    commands["getent"] = ["getent", "hosts", "kubia-1.kubia"]
    if shutil.which("dig"):
        commands |= {f"dig {question}": ["dig", *question.format_map(facts).split()] for question in DIGS}
    if shutil.which("node"):
        commands["node"] = ["node", "-e", NODE]
    cluster.request(f"{CORE}/configmaps", config_map(commands, musl_lookup(tmp_path_factory.mktemp("musl"))))
    cluster.request(f"{CORE}/pods", asker())
    eventually(lambda: cluster.request(f"{CORE}/pods/asker")["status"]["phase"] == "Succeeded", "everything was asked")
    said: dict[str, str] = json.loads(json.dumps(cluster.request(f"{CORE}/pods/asker/log")))
    return said


def publish_by_hand(cluster: RealCluster, facts: dict[str, str]) -> None:
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    labels = {"kubernetes.io/service-name": "by-hand"}
    ports, addresses = [{"name": "", "port": 8080}], [facts["kubia-0"]]
    cluster.request(
        slices,
        {
            "metadata": {"name": "by-hand-1", "labels": labels},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": addresses}],
        },
    )
    subsets = [{"addresses": [{"ip": facts["kubia-1"]}], "ports": ports}]
    cluster.request(f"{CORE}/endpoints", {"metadata": {"name": "legacy"}, "subsets": subsets})
    mirrored = "?labelSelector=kubernetes.io/service-name%3Dlegacy"
    eventually(lambda: cluster.request(slices + mirrored)["items"], "the Endpoints are mirrored")


@pytest.mark.parametrize("name", LOOKUPS)
@pytest.mark.parametrize("library", ["glibc", "musl"])
def test_a_c_librarys_resolver(library: str, name: str, answers: dict[str, str], facts: dict[str, str]) -> None:
    if library == "musl" and shutil.which("musl-gcc") is None:
        pytest.skip("no musl-gcc; install the package musl-tools")
    expected = LOOKUPS[name].format_map(facts).replace("no such name", NO_SUCH_NAME[library])
    assert sorted(answers[f"{library} {name}"].splitlines()) == sorted(expected.splitlines())


def test_getent(answers: dict[str, str], facts: dict[str, str]) -> None:
    assert answers["getent"].split() == [facts["kubia-1"], f"kubia-1.kubia.{HERE}"]


@pytest.mark.parametrize("question", DIGS)
@pytest.mark.skipif(shutil.which("dig") is None, reason="no dig; install the package bind9-dnsutils")
def test_dig(question: str, answers: dict[str, str], facts: dict[str, str]) -> None:
    lines = [" ".join(line.split()) for line in answers[f"dig {question}"].splitlines()]
    if "SOA" in DIGS[question]:
        facts = facts | {"serial": lines[0].split()[6]}
    assert sorted(lines) == sorted(DIGS[question].format_map(facts).splitlines())


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_node(answers: dict[str, str], facts: dict[str, str]) -> None:
    peers = [f"kubia-{number}.kubia.{HERE}:8080" for number in range(2)]
    assert answers["node"].split() == [*peers, facts["kubia-1"], "ENOTFOUND"]


@pytest.mark.parametrize("name", FETCHED)
def test_a_service_is_reached_from_a_pod(name: str, answers: dict[str, str]) -> None:
    assert answers[f"fetch {name}"] == FETCHED[name]


def test_a_pod_reaches_the_api_with_its_service_account(answers: dict[str, str]) -> None:
    assert answers["api"] == "front"


def test_a_single_stack_is_served_where_two_are_preferred(cluster: RealCluster) -> None:
    spec = cluster.request(f"{CORE}/services/dual")["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"], len(spec["clusterIPs"])) == (["IPv4"], "PreferDualStack", 1)
