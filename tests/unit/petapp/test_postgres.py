"""PostgreSQL's image: what its variables mean, and a first start that is made whole or begun again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from petset.petapp import postgres
from petset.petapp.postgres import SetupError, access_rules, ensure_database, read_settings, server_arguments

PASSWORD = {"POSTGRES_PASSWORD": "sesame"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param(PASSWORD, ("postgres", "sesame", "postgres", "scram-sha-256"), id="a password is enough"),
        pytest.param(
            {**PASSWORD, "POSTGRES_USER": "pet"}, ("pet", "sesame", "pet", "scram-sha-256"), id="a user's own database"
        ),
        pytest.param(
            {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_DB": "pets"},
            ("postgres", "", "pets", "trust"),
            id="trust needs no password",
        ),
    ],
)
def test_settings(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    settings = read_settings(environment)
    assert (settings.user, settings.password, settings.database, settings.authentication) == expected


def test_a_password_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame\n")
    assert read_settings({"POSTGRES_PASSWORD_FILE": str(tmp_path / "password")}).password == "sesame"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, "set POSTGRES_PASSWORD", id="no password"),
        pytest.param({"POSTGRES_PASSWORD_FILE": "/no/such"}, "POSTGRES_PASSWORD_FILE: ", id="no such file"),
        pytest.param({**PASSWORD, "POSTGRES_PASSWORD_FILE": "/x"}, "are exclusive", id="both"),
    ],
)
def test_what_cannot_be_is_said(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        read_settings(environment)


def test_the_server_listens_everywhere_or_on_its_one_address() -> None:
    assert "listen_addresses=*" in server_arguments([], "")
    assert server_arguments(["-c", "port=1"], "127.0.0.9") == [
        "postgres", "-c", "listen_addresses=127.0.0.9", "-c", "unix_socket_directories=", "-c", "port=1",
    ]  # fmt: skip


def test_others_need_the_password() -> None:
    rules = access_rules(read_settings(PASSWORD)).splitlines()
    assert "host all all all scram-sha-256" in rules
    assert "local all all trust" in rules


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be run; initdb makes the files that count."""
    run: list[str] = []

    def recorded(command: list[str], **environment: object) -> None:
        run.append(command[0])
        if command[0] == "initdb":
            folder = Path(command[1].removeprefix("--pgdata="))
            (folder / "base").mkdir(parents=True)
            (folder / "PG_VERSION").write_text("15")

    monkeypatch.setattr(postgres, "_run", recorded)
    return run


def test_an_empty_volume_gets_a_database_and_the_next_start_finds_it(tmp_path: Path, commands: list[str]) -> None:
    (tmp_path / "lost+found").mkdir()
    ensure_database(tmp_path, {**PASSWORD, "POSTGRES_DB": "pets"})
    assert commands == ["initdb", "pg_ctl", "psql", "pg_ctl"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["PG_VERSION", "base", "lost+found", "pg_hba.conf"]
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    ensure_database(tmp_path, {})
    assert len(commands) == 4


@pytest.mark.parametrize("leftovers", [[], ["base", "global"]], ids=["in the making", "being moved"])
def test_a_first_start_that_was_cut_off_is_begun_again(
    tmp_path: Path, commands: list[str], leftovers: list[str]
) -> None:
    for name in (".petset-new/base", *leftovers):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".petset-new" / "PG_VERSION").write_text("15")
    ensure_database(tmp_path, PASSWORD)
    assert commands == ["initdb"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["PG_VERSION", "base", "pg_hba.conf"]


@pytest.mark.usefixtures("commands")
def test_the_witness_is_moved_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    rename = Path.rename

    def recorded(path: Path, target: Path) -> Path:
        moved.append(path.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", recorded)
    ensure_database(tmp_path, PASSWORD)
    assert sorted(moved[:-1]) == ["base", "pg_hba.conf"]
    assert moved[-1] == "PG_VERSION"


def test_a_groups_access_is_taken_back_at_every_start(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15")
    tmp_path.chmod(0o770)
    ensure_database(tmp_path, {})
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_files_are_left_alone(tmp_path: Path, commands: list[str]) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(SetupError, match="exists but is not empty"):
        ensure_database(tmp_path, PASSWORD)
    assert commands == []


def test_a_failed_start_is_not_taken_for_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **environment: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(postgres, "_run", fail)
    with pytest.raises(subprocess.CalledProcessError):
        ensure_database(tmp_path, PASSWORD)
    assert not (tmp_path / "PG_VERSION").exists()
