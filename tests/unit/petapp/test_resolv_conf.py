"""resolv.conf and the search list, rule by rule (resolv.conf(5), glibc)."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset.petapp.dns_exchange import LookupFailure
from petset.petapp.resolver import ResolvConf, parse_resolv_conf, read_resolv_conf

POD = """\
nameserver 10.96.0.10
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""


@pytest.mark.parametrize(
    ("text", "conf"),
    [
        pytest.param("", ResolvConf(), id="nothing: the local server and the defaults"),
        pytest.param(
            POD,
            ResolvConf(
                nameservers=("10.96.0.10",),
                search=("default.svc.cluster.local", "svc.cluster.local", "cluster.local"),
                ndots=5,
            ),
            id="a pod's file",
        ),
        pytest.param("nameserver 127.128.0.10\nport 5353", ResolvConf(("127.128.0.10",), port=5353), id="port"),
        pytest.param("port 0\nport 70000\nport x", ResolvConf(), id="ports that are none"),
        pytest.param(
            "nameserver 10.0.0.1\nnameserver ::1\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
            ResolvConf(("10.0.0.1", "::1", "10.0.0.3")),
            id="three servers at most",
        ),
        pytest.param("nameserver dns.example\nnameserver", ResolvConf(), id="servers that are no addresses"),
        pytest.param("domain a\nsearch b. c\nsearch d", ResolvConf(search=("d",)), id="the last search list counts"),
        pytest.param("search .", ResolvConf(), id="the root is no search domain"),
        pytest.param(
            "options ndots:99 timeout:99 attempts:99",
            ResolvConf(ndots=15, timeout_seconds=30, attempts=5),
            id="options have ceilings",
        ),
        pytest.param(
            "options ndots:0 timeout:0 attempts:0",
            ResolvConf(ndots=0, timeout_seconds=1, attempts=1),
            id="at least one attempt of one second",
        ),
        pytest.param("options rotate edns0 ndots:x ndots", ResolvConf(), id="other options are skipped"),
        pytest.param(
            "# nameserver 10.0.0.1\n; port 1\n\tnameserver 10.0.0.2", ResolvConf(("10.0.0.2",)), id="comments"
        ),
    ],
)
def test_parse(text: str, conf: ResolvConf) -> None:
    assert parse_resolv_conf(text) == conf


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        pytest.param("a", ["a.x.y.", "a.z.", "a."], id="few dots: searched first"),
        pytest.param("a.b", ["a.b.x.y.", "a.b.z.", "a.b."], id="one dot fewer than ndots"),
        pytest.param("a.b.c", ["a.b.c.", "a.b.c.x.y.", "a.b.c.z."], id="ndots dots: as it is first"),
        pytest.param("a.", ["a."], id="final dot: as it is only"),
    ],
)
def test_candidates(name: str, candidates: list[str]) -> None:
    assert ResolvConf(search=("x.y", "z"), ndots=2).candidates(name) == candidates


def test_a_missing_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(LookupFailure, match=r"cannot read .*/resolv\.conf: No such file or directory"):
        read_resolv_conf(tmp_path / "resolv.conf")
