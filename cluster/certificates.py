"""Makes the cluster's certificate authority and the servers' certificates (ECDSA P-256, valid for ten years).

The authority is made once and kept, so kubeconfigs stay good. A server's certificate (the API server's, and one for
each kubelet) is made again when it does not name every address that it must, or when less than a month is left. All
carry the extensions that strict verifiers
ask for (Python 3.13 checks key identifiers and key usage; RFC 5280, 4.2.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from petset.cluster.pki import ca_certificate, key_of, kubelet_certificate, server_certificate
from petset.cluster.settings import ClusterFolder, ClusterSettings, write_private

_LIFE = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)
_CLOCK_TOLERANCE = timedelta(hours=1)
_SERVER_NAMES = (
    "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
)  # fmt: skip


def ensure_certificates(settings: ClusterSettings, now_seconds: float) -> None:
    """Make what is missing or out of date; files that are good stay as they are. `now_seconds`: Unix time."""
    now = datetime.fromtimestamp(now_seconds, UTC)
    folder = settings.folder
    for wanted in _wanted_certificates(settings):
        if not _is_certificate_good(folder, wanted, now):
            authority_key, authority = _ensure_authority(folder, now)
            _issue_certificate(wanted, authority_key, authority, now)


@dataclass(frozen=True)
class _Wanted:
    """One server's certificate: where it lies, whose it is, and what it must be valid for."""

    path: Path
    common_name: str
    names: Sequence[str]
    addresses: Sequence[str]


def _wanted_certificates(settings: ClusterSettings) -> Iterator[_Wanted]:
    folder, addresses = settings.folder, settings.addresses
    api_addresses = ("127.0.0.1", addresses.api_address, settings.component_endpoint[0])
    yield _Wanted(server_certificate(folder), "kube-apiserver", _SERVER_NAMES, api_addresses)
    for number, name in enumerate(settings.node_names, start=1):
        path = kubelet_certificate(folder, name)
        yield _Wanted(path, f"system:node:{name}", (name,), (addresses.node_address(number),))


def _is_certificate_good(folder: ClusterFolder, wanted: _Wanted, now: datetime) -> bool:
    path = wanted.path
    if not all(file.exists() for file in (path, key_of(path), ca_certificate(folder))):
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if not _is_issued_by(certificate, x509.load_pem_x509_certificate(ca_certificate(folder).read_bytes())):
        return False
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    covered = {str(address) for address in named.get_values_for_type(x509.IPAddress)}
    return covered.issuperset(wanted.addresses) and certificate.not_valid_after_utc - now > _RENEW_BEFORE


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, InvalidSignature):
        return False
    return True


def _ensure_authority(folder: ClusterFolder, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    path = ca_certificate(folder)
    if path.exists() and key_of(path).exists():
        known_key = load_pem_private_key(key_of(path).read_bytes(), password=None)
        if isinstance(known_key, ec.EllipticCurvePrivateKey):
            return known_key, x509.load_pem_x509_certificate(path.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_named("petset"), _named("petset"), key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    _write(path, key, certificate)
    return key, certificate


def _issue_certificate(
    wanted: _Wanted, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, now: datetime
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(name) for name in wanted.names]
    numbers = [x509.IPAddress(ip_address(address)) for address in wanted.addresses]
    issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _builder(_named(wanted.common_name), authority.subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([*names, *numbers]), critical=False)
        .add_extension(issuer_key_id, critical=False)
    )
    _write(wanted.path, key, builder.sign(authority_key, hashes.SHA256()))


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _write(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Replace both files. The old certificate goes first: one without its key would be taken for good later."""
    path.unlink(missing_ok=True)
    write_private(key_of(path), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private(path, certificate.public_bytes(Encoding.PEM))
