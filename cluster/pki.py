"""Who is who in a cluster: a bearer token per component, and TLS that trusts the cluster's own authority alone.

    pki/ca.crt ca.key            made once (certificates.py); clients trust nothing else
    pki/apiserver.crt .key       renewed when an address changed or a month is left
    pki/kubelet-NODE.crt .key    the same for each kubelet's own server
    pki/tokens.csv               Kubernetes' static token file: token,user,uid,"group,group"
    pki/sa.key                   signs the tokens of ServiceAccounts; made once, so that they outlive an API server

Users and groups are Kubernetes' own (`system:kube-scheduler`, `system:node:node-1` in `system:nodes`, …). Tokens are
made once and kept over restarts, so a kubeconfig stays good; a node that was not there before gets its token when
the cluster starts. All files are private (0600). Left out: client certificates, token expiry.

This module only reads certificates, with the standard library: most processes of a cluster never make one, and start
faster without the `cryptography` package.
"""

from __future__ import annotations

import csv
import io
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petset.cluster.settings import ClusterFolder, ClusterSettings, write_private

ADMIN = "kubernetes-admin"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
DNS = "system:serviceaccount:kube-system:coredns"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The API server, where it is a kubelet's client."""


@dataclass(frozen=True)
class Identity:
    """Who a request comes from."""

    user: str
    groups: tuple[str, ...] = ()


def node_user(node_name: str) -> str:
    """The user of a kubelet, in the form that Kubernetes' node authorizer expects."""
    return f"system:node:{node_name}"


def ca_certificate(folder: ClusterFolder) -> Path:
    return folder.pki / "ca.crt"


def server_certificate(folder: ClusterFolder) -> Path:
    return folder.pki / "apiserver.crt"


def kubelet_certificate(folder: ClusterFolder, node_name: str) -> Path:
    return folder.pki / f"kubelet-{node_name}.crt"


def key_of(certificate: Path) -> Path:
    """The private key beside a certificate."""
    return certificate.with_suffix(".key")


def ensure_tokens(settings: ClusterSettings) -> None:
    """Make a token for everyone who has none yet; the others keep theirs."""
    path = _token_file(settings.folder)
    known = dict(_read_tokens(path)) if path.exists() else {}
    missing = [identity for identity in _wanted_identities(settings) if identity not in known.values()]
    if not missing:
        return
    known |= {secrets.token_hex(32): identity for identity in missing}
    text = io.StringIO()
    csv.writer(text).writerows((token, who.user, who.user, ",".join(who.groups)) for token, who in known.items())
    write_private(path, text.getvalue().encode())


def service_account_key(folder: ClusterFolder) -> bytes:
    """The key of ServiceAccounts' tokens, made when there is none."""
    path = folder.pki / "sa.key"
    if not path.exists():
        write_private(path, secrets.token_bytes(32))
    return path.read_bytes()


def read_identities(folder: ClusterFolder) -> dict[str, Identity]:
    """Every valid bearer token and whose it is."""
    return dict(_read_tokens(_token_file(folder)))


def token_of(folder: ClusterFolder, user: str) -> str:
    """The bearer token of one user. Raises KeyError when the cluster never made one."""
    return {identity.user: token for token, identity in _read_tokens(_token_file(folder))}[user]


def server_context(folder: ClusterFolder) -> ssl.SSLContext:
    """TLS as the API server speaks it."""
    return _serving_context(server_certificate(folder))


def kubelet_context(folder: ClusterFolder, node_name: str) -> ssl.SSLContext:
    """TLS as a kubelet's own server speaks it."""
    return _serving_context(kubelet_certificate(folder, node_name))


def _serving_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key_of(certificate))
    return context


def client_context(folder: ClusterFolder) -> ssl.SSLContext:
    """TLS towards the API server, and from it towards kubelets."""
    return ssl.create_default_context(cafile=str(ca_certificate(folder)))


def _token_file(folder: ClusterFolder) -> Path:
    return folder.pki / "tokens.csv"


def _read_tokens(path: Path) -> Iterator[tuple[str, Identity]]:
    with path.open(newline="") as file:
        for token, user, _uid, groups in csv.reader(file):
            yield token, Identity(user, tuple(group for group in groups.split(",") if group))


def _wanted_identities(settings: ClusterSettings) -> list[Identity]:
    return [
        Identity(ADMIN, ("system:masters",)),
        Identity(KUBELET_CLIENT, ("system:masters",)),
        Identity(CONTROLLER_MANAGER),
        Identity(SCHEDULER),
        Identity(DNS, ("system:serviceaccounts", "system:serviceaccounts:kube-system")),
        *(Identity(node_user(name), ("system:nodes",)) for name in settings.node_names),
    ]
