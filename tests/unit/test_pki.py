"""Certificates, tokens and the kubeconfig, on real files; TLS is spoken in memory."""

from __future__ import annotations

import ssl
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from petset.cluster import pki
from petset.cluster.certificates import ensure_certificates
from petset.cluster.kubeconfig import write_kubeconfig
from petset.cluster.settings import ClusterSettings

NOW = time.time()
"""TLS verifies against the real clock."""
YEAR = 365 * 86400.0


@pytest.fixture
def settings(tmp_path: Path) -> ClusterSettings:
    made = ClusterSettings("one", str(tmp_path), port=7443)
    ensure_everything(made)
    return made


def ensure_everything(settings: ClusterSettings, now: float = NOW) -> None:
    pki.ensure_tokens(settings)
    ensure_certificates(settings, now)


def certificate(settings: ClusterSettings) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.server_certificate(settings.folder).read_bytes())


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A TLS handshake through two memory pipes. Raises what the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].version() == "TLSv1.3"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "kubernetes.default.svc", "127.128.0.1"])
def test_clients_trust_the_server_under_each_of_its_names(settings: ClusterSettings, host: str) -> None:
    client = pki.client_context(settings.folder)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(client, pki.server_context(settings.folder), host)


def test_a_kubelet_is_trusted_at_its_nodes_address_alone(settings: ClusterSettings) -> None:
    client = pki.client_context(settings.folder)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(client, pki.kubelet_context(settings.folder, "node-2"), settings.addresses.node_address(2))
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(client, pki.kubelet_context(settings.folder, "node-2"), settings.addresses.node_address(1))


def test_clients_refuse_another_name(settings: ClusterSettings) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(pki.client_context(settings.folder), pki.server_context(settings.folder), "example.org")


def test_clients_refuse_another_clusters_server(settings: ClusterSettings) -> None:
    other = replace(settings, name="two")
    ensure_everything(other)
    with pytest.raises(ssl.SSLCertVerificationError, match="signature failure|unable to get local issuer"):
        handshake(pki.client_context(settings.folder), pki.server_context(other.folder), "localhost")


def test_everything_is_kept_over_a_restart(settings: ClusterSettings) -> None:
    before = {path.name: path.read_bytes() for path in settings.folder.pki.iterdir()}
    ensure_everything(settings, NOW + YEAR)
    assert {path.name: path.read_bytes() for path in settings.folder.pki.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "now"),
    [
        pytest.param({"slot": 5}, NOW, id="its-address-changed"),
        pytest.param({}, NOW + 10 * YEAR - 20 * 86400, id="less-than-a-month-is-left"),
    ],
)
def test_only_the_server_certificate_is_renewed(settings: ClusterSettings, change: dict[str, int], now: float) -> None:
    authority = pki.ca_certificate(settings.folder).read_bytes()
    old = certificate(settings)
    ensure_everything(replace(settings, **change), now)  # type: ignore[arg-type]  # a dict's values have one type
    assert certificate(settings).serial_number != old.serial_number
    assert pki.ca_certificate(settings.folder).read_bytes() == authority


def test_a_server_certificate_of_a_lost_authority_is_renewed(settings: ClusterSettings) -> None:
    pki.ca_certificate(settings.folder).unlink()
    ensure_everything(settings)
    handshake(pki.client_context(settings.folder), pki.server_context(settings.folder), "localhost")


def test_nothing_in_the_folder_is_readable_by_others(settings: ClusterSettings) -> None:
    write_kubeconfig(settings)
    files = [*settings.folder.pki.iterdir(), settings.folder.kubeconfig]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_every_component_has_an_identity_of_its_own(settings: ClusterSettings) -> None:
    users = {who.user: who.groups for who in pki.read_identities(settings.folder).values()}
    assert users == {
        "kubernetes-admin": ("system:masters",),
        "kube-apiserver-kubelet-client": ("system:masters",),
        "system:kube-controller-manager": (),
        "system:kube-scheduler": (),
        "system:serviceaccount:kube-system:coredns": ("system:serviceaccounts", "system:serviceaccounts:kube-system"),
        "system:node:node-1": ("system:nodes",),
        "system:node:node-2": ("system:nodes",),
        "system:node:node-3": ("system:nodes",),
    }


def test_a_new_node_gets_a_token_and_the_others_keep_theirs(settings: ClusterSettings) -> None:
    before = pki.read_identities(settings.folder)
    pki.ensure_tokens(replace(settings, node_count=4))
    after = pki.read_identities(settings.folder)
    assert before.items() < after.items()
    assert after[pki.token_of(settings.folder, pki.node_user("node-4"))].groups == ("system:nodes",)


def test_an_unknown_user_has_no_token(settings: ClusterSettings) -> None:
    with pytest.raises(KeyError):
        pki.token_of(settings.folder, "nobody")


def test_kubeconfig_carries_all_that_a_client_needs(settings: ClusterSettings) -> None:
    write_kubeconfig(settings)
    config = yaml.safe_load(settings.folder.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7443"
    assert config["users"][0]["user"] == {"token": pki.token_of(settings.folder, pki.ADMIN)}
    assert config["current-context"] == config["contexts"][0]["name"] == "petset-one"


def test_the_key_of_service_accounts_is_made_once_and_private(settings: ClusterSettings) -> None:
    key = pki.service_account_key(settings.folder)
    assert len(key) == 32
    assert pki.service_account_key(settings.folder) == key
    assert stat.S_IMODE((settings.folder.pki / "sa.key").stat().st_mode) == 0o600
