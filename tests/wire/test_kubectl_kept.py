"""Kinds that are only kept, as kubectl shows them: every `describe` works, and every table has Kubernetes' columns."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from petset.cluster.clock import SystemClock
from tests.apis import new_api
from tests.wire.serving import Served, needs_kubectl, serving
from tests.wire.session_kit import ENDS

pytestmark = needs_kubectl

MANIFEST = Path(__file__).parent / "kept_kinds.yaml"
HEADINGS = {
    "cronjobs": "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE",
    "ingresses": "NAME CLASS HOSTS ADDRESS PORTS AGE",
    "networkpolicies": "NAME POD-SELECTOR AGE",
    "roles": "NAME CREATED AT",
    "rolebindings": "NAME ROLE AGE",
    "horizontalpodautoscalers": "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE",
    "priorityclasses": "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY",
    "daemonsets": "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE",
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(await new_api(SystemClock()), tmp_path) as it:
        yield it


def signing_request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    pem = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(pem.public_bytes(Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
    }  # fmt: skip
    api_version = "certificates.k8s.io/v1"
    body = {"apiVersion": api_version, "kind": "CertificateSigningRequest", "metadata": {"name": name}, "spec": spec}
    return yaml.safe_dump(body)


async def test_each_is_described_and_shown(served: Served) -> None:
    applied = await served.kubectl("apply", "-f", str(MANIFEST))
    assert applied.code == 0, applied.err
    described = await served.kubectl("describe", "-f", str(MANIFEST))
    assert (described.code, described.err) == (0, "")
    assert described.out.count("Name:") >= len(applied.out.splitlines())
    shown = (await served.kubectl("get", ",".join(HEADINGS))).out
    headings = [" ".join(line.split()) for line in shown.splitlines() if line.startswith("NAME")]
    assert headings == [*HEADINGS.values()]
    again = await served.kubectl("apply", "-f", str(MANIFEST))
    assert [line for line in again.out.splitlines() if not line.endswith(" unchanged")] == []


@pytest.mark.parametrize("program", ENDS, ids=["JSON", "protobuf"])
async def test_signing_requests_are_approved_and_denied(served: Served, program: str) -> None:
    for name, verb, decision in (("good", "approve", "Approved"), ("bad", "deny", "Denied")):
        await served.kubectl("apply", "-f", "-", stdin=signing_request(name))
        done = await served.kubectl("certificate", verb, name, program=program)
        assert done.code == 0, done.err
        [condition] = (await served.client.get("CertificateSigningRequest", name))["status"]["conditions"]
        assert (condition["type"], condition["status"]) == (decision, "True")
        assert condition["lastTransitionTime"]
        shown = (await served.kubectl("get", "csr", name, program=program)).out.split()
        assert decision in shown
        assert "kubernetes-admin" in shown
        assert f"Common Name:    {name}" in (await served.kubectl("describe", "csr", name, program=program)).out
