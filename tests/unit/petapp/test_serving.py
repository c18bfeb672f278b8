"""What a guest reads from its environment."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from petset.petapp.serving import Settings, SettingsError, read_settings


def test_the_defaults_are_what_a_real_container_has() -> None:
    assert read_settings({}) == Settings(
        hostname=socket.gethostname(),
        bind="0.0.0.0",
        port=8080,
        data_folder=Path("/var/data"),
        webroot=Path("/usr/share/nginx/html"),
        resolv_conf=Path("/etc/resolv.conf"),
        service="kubia.default.svc.cluster.local",
    )


def test_every_variable_is_read() -> None:
    environment = {
        "HOSTNAME": "kubia-0",
        "PET_BIND": "127.64.1.2",
        "PET_PORT": "81",
        "PET_DATA": "/disk",
        "PET_WEBROOT": "/pages",
        "PET_RESOLV_CONF": "/pod/resolv.conf",
        "PET_SERVICE": "peers",
    }
    assert read_settings(environment, default_port=80) == Settings(
        hostname="kubia-0",
        bind="127.64.1.2",
        port=81,
        data_folder=Path("/disk"),
        webroot=Path("/pages"),
        resolv_conf=Path("/pod/resolv.conf"),
        service="peers",
    )


def test_a_program_may_have_a_default_port_of_its_own() -> None:
    assert read_settings({}, default_port=80).port == 80


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_settings(dict.fromkeys(("HOSTNAME", "PET_BIND", "PET_PORT", "PET_DATA"), "")) == read_settings({})


@pytest.mark.parametrize("text", ["http", "-1", "65536", "80.0", "٨٠"])
def test_a_port_that_is_none_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=f"PET_PORT={text}: "):
        read_settings({"PET_PORT": text})
