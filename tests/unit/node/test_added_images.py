"""Images that users add to a cluster: all of a file or nothing, the newest first, known to machines at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from petset.cluster.api.cri import ImageNotFound
from petset.cluster.node.added_images import AddedImages, LiveCatalogue
from petset.cluster.settings import SettingsError

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


@pytest.fixture
def added(tmp_path: Path) -> AddedImages:
    return AddedImages(tmp_path / "cluster" / "images.yaml")


def entry(name: str, match: str, program: str = "sh") -> str:
    return f"images: [{{name: {name}, match: {match}, command: [{program}]}}]"


def names(added: AddedImages) -> list[str]:
    return [program.name for program in added.programs()]


def test_the_newest_come_first_and_replace_their_name(added: AddedImages, write: Write) -> None:
    assert names(added) == []
    added.add([write("a", entry("one", "pet")), write("b", entry("two", "pet"))], os.environ)
    assert names(added) == ["two", "one"]
    added.add([write("a", entry("one", "pet:2", "cat"))], os.environ)
    assert names(added) == ["one", "two"]
    assert added.programs()[0].command == ("cat",)
    assert stat.S_IMODE(added.file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "not YAML", id="not YAML"),
        pytest.param("images: [{name: a, match: a, colour: red}]", "unknown field 'colour'", id="unknown field"),
        pytest.param(
            "images: [{name: a, match: a, python: 'no_such_module:main'}]",
            "cannot import no_such_module: ModuleNotFoundError",
            id="no such module",
        ),
        pytest.param(
            "images: [{name: a, match: a, python: 'petset.petapp.pause:nothing'}]",
            "module petset.petapp.pause has no function nothing",
            id="no such function",
        ),
        pytest.param(
            "images: [{name: a, match: a, python: 'petset.petapp.pause:os'}]",
            "module petset.petapp.pause has no function os",
            id="what cannot be called",
        ),
    ],
)
def test_garbage_is_one_line_and_nothing_is_taken(added: AddedImages, write: Write, text: str, words: str) -> None:
    added.add([write("good", entry("one", "pet"))], os.environ)
    with pytest.raises(SettingsError) as caught:
        added.add([write("fine", entry("two", "pet")), write("bad", text)], os.environ)
    assert words in str(caught.value)
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(added) == ["one"]


def test_a_guest_of_petapp_can_be_added(added: AddedImages, write: Write) -> None:
    added.add([write("a", "images: [{name: a, match: a, python: 'petset.petapp.pause:main'}]")], os.environ)
    assert names(added) == ["a"]


def test_a_file_that_is_not_there_is_named(added: AddedImages, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere: No such file or directory"):
        added.add([tmp_path / "nowhere"], os.environ)


def test_an_entry_is_forgotten_by_its_name(added: AddedImages, write: Write) -> None:
    added.add([write("a", entry("one", "pet")), write("b", entry("two", "pet"))], os.environ)
    assert added.remove("two")
    assert not added.remove("two")
    assert names(added) == ["one"]


def test_a_machine_knows_at_once(added: AddedImages, write: Write) -> None:
    images = LiveCatalogue(added.file)
    shipped = images.find("luksa/kubia")[1]
    with pytest.raises(ImageNotFound, match=r"`petset image add FILE`"):
        images.find("example.com/pet:1")
    added.add([write("a", entry("mine", "[example.com/pet, luksa/kubia]"))], os.environ)
    assert [images.find(text)[1].name for text in ("example.com/pet:1", "luksa/kubia")] == ["mine", "mine"]
    added.remove("mine")
    assert images.find("luksa/kubia")[1] == shipped


def test_a_file_damaged_by_hand_costs_nothing_that_was_known(added: AddedImages, write: Write) -> None:
    added.add([write("a", entry("mine", "pet"))], os.environ)
    images = LiveCatalogue(added.file)
    assert images.find("pet")[1].name == "mine"
    added.file.write_text("images: {")
    assert images.find("pet")[1].name == "mine"
    assert images.find("luksa/kubia")[1].name == "kubia"
    with pytest.raises(ImageNotFound, match=r"not in the catalogue.*images\.yaml: not YAML"):
        images.find("other")
    with pytest.raises(SettingsError, match="not YAML"):
        added.add([write("b", entry("more", "other"))], os.environ)
    assert added.file.read_text() == "images: {"
