"""`petset image` and `petset up --images`: what they say, and that a mistake changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from petset.cluster.cli.main import main
from petset.cluster.settings import ClusterFolder, ClusterSettings

GOOD = "images: [{name: mine, match: example.com/pet, command: [sh]}, {name: ghost, match: ghost, command: [no-such]}]"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterFolder:
    monkeypatch.setenv("PETSET_HOME", str(tmp_path))
    settings = ClusterSettings("old", str(tmp_path))
    settings.save()
    return settings.folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(GOOD)
    return tmp_path / "own.yaml"


def petset(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--cluster", "old"] if arguments[0] == "image" else arguments)


def lines(*arguments: str) -> list[str]:
    result = petset(*arguments)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def refused(*arguments: str) -> str:
    result = petset(*arguments)
    assert result.exit_code == 1, result.output
    [line] = result.output.splitlines()
    return line


def shown() -> dict[str, list[str]]:
    """The rows of `petset image ls` by name; columns are two blanks apart."""
    rows = (row.split() for row in lines("image", "ls")[1:])
    return {row[0]: row[1:] for row in rows}


def test_images_are_added_listed_and_removed(folder: ClusterFolder, file: Path) -> None:
    assert lines("image", "add", str(file)) == ["image mine added to cluster old", "image ghost added to cluster old"]
    rows = shown()
    assert rows["mine"] == ["example.com/pet", "sh", "added", "yes"]
    assert rows["ghost"] == ["ghost", "no-such", "added", "no:", "the", "program", "'no-such'"]
    assert "shipped" in rows["kubia"]
    assert lines("image", "rm", "mine") == ["image mine removed from cluster old"]
    assert "mine" not in shown()


def test_what_was_not_added_cannot_be_removed(folder: ClusterFolder, file: Path) -> None:
    assert refused("image", "rm", "kubia") == "Error: no image kubia was added to cluster old; added are: none"
    lines("image", "add", str(file))
    assert refused("image", "rm", "kubia").endswith("added are: mine, ghost")


@pytest.mark.parametrize("command", [["image", "add"], ["up", "new", "--port", "0", "--images"]], ids=["add", "up"])
def test_garbage_is_one_line_from_every_entrance(folder: ClusterFolder, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "bad.yaml").write_text("images: [{name: a, match: a, colour: red}]")
    assert refused(*command, str(tmp_path / "bad.yaml")).startswith(
        f"Error: catalogue {tmp_path / 'bad.yaml'}: images[1] (a): unknown field 'colour'; there are name, match, "
    )
    assert not folder.images.exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [["image", "ls"], ["up", "old", "--port", "0"]], ids=["ls", "up"])
def test_a_damaged_file_of_the_cluster_is_named(folder: ClusterFolder, command: list[str]) -> None:
    folder.images.write_text("images: {}")
    assert refused(*command) == f"Error: catalogue {folder.images}: needs a list called images"
    assert folder.images.read_text() == "images: {}"


def test_images_of_no_cluster(folder: ClusterFolder, file: Path) -> None:
    result = CliRunner().invoke(main, ["image", "add", str(file), "--cluster", "nothing"])
    assert result.exit_code == 1
    assert "there is no cluster nothing" in result.output
