from __future__ import annotations

import stat
from pathlib import Path

from petset.actors.ray_environment import prepare_joined_ray, prepare_private_ray


def test_a_private_ray_takes_nothing_from_the_users_ray(tmp_path: Path) -> None:
    environment = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_TOKEN": "theirs", "RAY_NAMESPACE": "x", "HOME": "/home/me"}
    prepare_private_ray(environment, tmp_path, core_count=4)
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_NAMESPACE"} & environment.keys()
    assert environment["HOME"] == "/home/me"


def test_its_token_is_new_each_time_and_only_for_this_user(tmp_path: Path) -> None:
    tokens = []
    for name in ("a", "b"):
        environment: dict[str, str] = {}
        prepare_private_ray(environment, tmp_path / name, core_count=4)
        path = Path(environment["RAY_AUTH_TOKEN_PATH"])
        assert environment["RAY_AUTH_MODE"] == "token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        tokens.append(path.read_text())
    assert tokens[0] != tokens[1]
    assert len(tokens[0]) == 64


def test_workers_may_write_bytecode_and_nobody_is_told_of_use(tmp_path: Path) -> None:
    for prepare in (lambda env: prepare_private_ray(env, tmp_path, 1), prepare_joined_ray):
        environment = {"PYTHONDONTWRITEBYTECODE": "1"}
        prepare(environment)
        assert "PYTHONDONTWRITEBYTECODE" not in environment
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0"


def test_joining_keeps_the_users_way_into_their_ray() -> None:
    environment = {"RAY_AUTH_TOKEN": "theirs", "RAY_AUTH_MODE": "token"}
    prepare_joined_ray(environment)
    assert environment["RAY_AUTH_TOKEN"] == "theirs"
