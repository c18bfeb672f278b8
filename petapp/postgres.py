"""PostgreSQL as its image starts it: makes the database cluster on an empty volume, then becomes the server.

    PGDATA empty ─▶ in a folder of its own there: initdb ─▶ who may connect ─▶ a server on a private socket: the
                    database, /docker-entrypoint-initdb.d ─▶ moved into place, PG_VERSION last ─▶ postgres
    PGDATA there ─────────────────────────────────────────────────────────────────────────────▶ postgres

The image's variables: POSTGRES_PASSWORD (required, unless POSTGRES_HOST_AUTH_METHOD is `trust`), POSTGRES_USER,
POSTGRES_DB, each of them also as NAME_FILE, the path of a file that holds it; POSTGRES_INITDB_ARGS, PGDATA.
Arguments that begin with a dash are the server's; others are a program to run instead. A first start that is cut off
at any moment is begun again. With PET_BIND (a pod without a network of its own) the server listens there alone, and
has no Unix socket.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

SCRIPTS = Path("/docker-entrypoint-initdb.d")
SOCKETS = "/var/run/postgresql"
_IN_THE_MAKING = ".petset-new"
_WITNESS = "PG_VERSION"
"""The file that tells of a database cluster; the last to be moved into place."""


class SetupError(Exception):
    """The database cannot be made; the message is for the pod's log."""


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    user: str
    password: str
    database: str
    authentication: str
    initdb_arguments: tuple[str, ...]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SetupError."""
    user = _value(environment, "POSTGRES_USER") or "postgres"
    authentication = _value(environment, "POSTGRES_HOST_AUTH_METHOD") or "scram-sha-256"
    password = _value(environment, "POSTGRES_PASSWORD")
    if not password and authentication != "trust":
        raise SetupError(
            "Database is uninitialized and superuser password is not specified: set POSTGRES_PASSWORD, or "
            "POSTGRES_HOST_AUTH_METHOD=trust to let everybody in"
        )
    return Settings(
        user=user,
        password=password,
        database=_value(environment, "POSTGRES_DB") or user,
        authentication=authentication,
        initdb_arguments=tuple(shlex.split(environment.get("POSTGRES_INITDB_ARGS") or "")),
    )


def server_arguments(arguments: list[str], bind: str) -> list[str]:
    """The server's command line; the container's own arguments have the last word."""
    place = ["-c", f"listen_addresses={bind}", "-c", "unix_socket_directories="] if bind else []
    everywhere = [] if bind else ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={SOCKETS}"]
    return ["postgres", *place, *everywhere, *arguments]


def access_rules(settings: Settings) -> str:
    """pg_hba.conf: everybody from inside of the pod, with a password (or as the method says) from outside."""
    return (
        "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n"
        "local replication all trust\n"
        f"host all all all {settings.authentication}\nhost replication all all {settings.authentication}\n"
    )


def main() -> NoReturn:
    """Run `sys.argv[1:]` as the image would; a start that failed is a SystemExit in words."""
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-") and arguments[0] != "postgres":
        _become(arguments)
    data = Path(os.environ.get("PGDATA") or "/var/lib/postgresql/data")
    try:
        ensure_database(data, os.environ)
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"Error: {error}")
    os.environ["PGDATA"] = str(data)
    own = arguments[1:] if arguments[:1] == ["postgres"] else arguments
    _become(server_arguments(own, os.environ.get("PET_BIND") or ""))


def ensure_database(data: Path, environment: Mapping[str, str]) -> None:
    """Make the database cluster if there is none. Raises SetupError, OSError, CalledProcessError."""
    if (data / _WITNESS).exists():
        data.chmod(0o700)  # a pod's fsGroup opens it at every start, and the server would refuse
        print("PostgreSQL Database directory appears to contain a database; Skipping initialization", flush=True)
        return
    settings = read_settings(environment)
    data.mkdir(parents=True, exist_ok=True)
    making = data / _IN_THE_MAKING
    found = [entry for entry in data.iterdir() if entry.name != "lost+found"]
    if found and making not in found:
        raise SetupError(f'directory "{data}" exists but is not empty')
    for entry in found:
        _remove(entry)
    _make(making, settings)
    for entry in sorted(making.iterdir(), key=lambda entry: entry.name == _WITNESS):
        entry.rename(data / entry.name)
    making.rmdir()
    data.chmod(0o700)
    print("PostgreSQL init process complete; ready for start up.", flush=True)


def _make(folder: Path, settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as private:
        password = Path(private, "password")
        password.write_text(settings.password + "\n")
        with_password = [f"--pwfile={password}"] if settings.password else []
        _run(
            ["initdb", f"--pgdata={folder}", f"--username={settings.user}", "--encoding=UTF8",
             "--locale=C.UTF-8", "--auth=trust", *with_password, *settings.initdb_arguments]
        )  # fmt: skip
        (folder / "pg_hba.conf").write_text(access_rules(settings))
        if settings.database != "postgres" or SCRIPTS.is_dir():
            _fill(folder, settings, private)


def _fill(folder: Path, settings: Settings, sockets: str) -> None:
    """The database and the user's scripts, through a server that nobody else can reach."""
    options = f"-c listen_addresses= -c unix_socket_directories={sockets}"
    _run(["pg_ctl", f"--pgdata={folder}", "--wait", f"--options={options}", "start"])
    try:
        psql = ["psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", f"--host={sockets}", f"--username={settings.user}"]
        if settings.database != "postgres":
            quoted = settings.database.replace('"', '""')
            _run([*psql, "--dbname=postgres", "--command", f'CREATE DATABASE "{quoted}"'])
        for script in sorted(SCRIPTS.iterdir()) if SCRIPTS.is_dir() else ():
            if script.suffix == ".sql":
                _run([*psql, f"--dbname={settings.database}", f"--file={script}"])
            elif script.suffix == ".sh":
                _run(["sh", str(script)], PGHOST=sockets, PGUSER=settings.user, PGDATABASE=settings.database)
    finally:
        _run(["pg_ctl", f"--pgdata={folder}", "--mode=fast", "--wait", "stop"])


def _become(command: list[str]) -> NoReturn:
    os.execvp(command[0], command)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _run(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, **environment})


def _value(environment: Mapping[str, str], name: str) -> str:
    """A variable, or the content of the file that `NAME_FILE` names. Raises SetupError."""
    if file := environment.get(f"{name}_FILE"):
        if environment.get(name):
            raise SetupError(f"both {name} and {name}_FILE are set (but are exclusive)")
        try:
            return Path(file).read_text().rstrip("\n")
        except OSError as error:
            raise SetupError(f"{name}_FILE: {error}") from error
    return environment.get(name) or ""


if __name__ == "__main__":
    main()
