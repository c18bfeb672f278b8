"""What a name may look like: each rule's fault in Kubernetes' words, and the names next to the edge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from petset.cluster.api.validation_names import label_faults, port_name_faults, service_faults, subdomain_faults

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
SERVICE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
CHARACTERS = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
LETTER = "must contain at least one letter (a-z)"
HYPHENS = "must not contain consecutive hyphens"
ENDS = "must not begin or end with a hyphen"


@pytest.mark.parametrize(
    ("faults_of", "name", "faults"),
    [
        pytest.param(label_faults, "1-a", [], id="label"),
        pytest.param(label_faults, "a" * 63, [], id="longest-label"),
        pytest.param(label_faults, "a" * 64, ["must be no more than 63 characters"], id="label-too-long"),
        pytest.param(label_faults, "Web_1", [LABEL], id="label-of-other-characters"),
        pytest.param(label_faults, "a-", [LABEL], id="label-ends"),
        pytest.param(label_faults, "a\n", [LABEL], id="label-and-a-line-end"),
        pytest.param(label_faults, "a.b", ["must not contain dots"], id="label-with-dots"),
        pytest.param(label_faults, "A" * 64, ["must be no more than 63 characters", LABEL], id="both-faults"),
        pytest.param(subdomain_faults, "a.b-1", [], id="subdomain"),
        pytest.param(subdomain_faults, "a..b", [SUBDOMAIN], id="subdomain-of-nothing"),
        pytest.param(subdomain_faults, "a" * 254, ["must be no more than 253 characters"], id="subdomain-too-long"),
        pytest.param(service_faults, "a-1", [], id="service"),
        pytest.param(service_faults, "1-a", [SERVICE], id="service-that-begins-with-a-digit"),
        pytest.param(port_name_faults, "http-alt-800000", [], id="port"),
        pytest.param(port_name_faults, "9p", [], id="port-of-one-letter"),
        pytest.param(port_name_faults, "http-alt-8000000", ["must be no more than 15 characters"], id="port-too-long"),
        pytest.param(port_name_faults, "Web_1", [CHARACTERS], id="port-of-other-characters"),
        pytest.param(port_name_faults, "80-81", [LETTER], id="port-of-digits"),
        pytest.param(port_name_faults, "a--b", [HYPHENS], id="port-with-two-hyphens"),
        pytest.param(port_name_faults, "-a", [ENDS], id="port-begins-with-hyphen"),
        pytest.param(port_name_faults, "a-", [ENDS], id="port-ends-with-hyphen"),
        pytest.param(port_name_faults, "--", [LETTER, HYPHENS, ENDS], id="port-of-hyphens"),
    ],
)
def test_the_faults_of_a_name(faults_of: Callable[[str], list[str]], name: str, faults: list[str]) -> None:
    assert faults_of(name) == faults
