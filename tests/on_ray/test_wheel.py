"""The wheel in a fresh environment: a working `petset`, and nothing else at the top level."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import petset

ROOT = Path(petset.__file__).parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with petset from its wheel; the dependencies are borrowed from the running one."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not in a checkout")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        ROOT, folder / "tree", symlinks=True,
        ignore=shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", "__pycache__", ".*_cache"),
    )  # fmt: skip
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "tree")]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    venv.create(folder / "fresh", symlinks=True, with_pip=False)
    [wheel] = folder.glob("petset-*.whl")
    target = ["--python", str(folder / "fresh" / "bin" / "python")]
    subprocess.run([*pip, *target, "install", "--no-deps", str(wheel)], check=True, capture_output=True, timeout=120)
    (site_packages(folder / "fresh") / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "fresh"


def site_packages(environment: Path) -> Path:
    [found] = environment.glob("lib/python*/site-packages")
    return found


def run(environment: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin" / "petset"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180)


def test_help(environment: Path, tmp_path: Path) -> None:
    done = run(environment, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"up", "down", "ls", "kubeconfig", "demo"} <= set(done.stdout.split())


def test_no_other_top_level_module(environment: Path) -> None:
    found = {path.name for path in site_packages(environment).iterdir()}
    assert "petset" in found
    assert not found & {"cluster", "actors", "dns", "petapp", "examples", "tests", "benchmarks"}


def test_the_wheel_is_complete_and_its_demo_holds(environment: Path, tmp_path: Path) -> None:
    """A whole walk-through from the installed package: data files, actors in Ray's workers, guests."""
    done = run(environment, "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WHAT HELD" in done.stdout
    assert "everything is torn down" in done.stdout
