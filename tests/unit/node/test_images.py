"""The catalogue: references, patterns, placeholders, and errors that name file, entry and field."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from petset.cluster.api.cri import ImageNotFound
from petset.cluster.node.catalogue_files import parse_catalogue, read_catalogue, shipped_programs
from petset.cluster.node.image_references import Reference, parse_reference
from petset.cluster.node.images import Catalogue, Program, fill_placeholders
from petset.cluster.settings import SettingsError


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("nginx", Reference("docker.io", "nginx", "latest")),
        ("docker.io/library/nginx:1.25", Reference("docker.io", "nginx", "1.25")),
        ("luksa/kubia-pet", Reference("docker.io", "luksa/kubia-pet", "latest")),
        ("docker.io/luksa/kubia-pet:v1", Reference("docker.io", "luksa/kubia-pet", "v1")),
        ("registry.k8s.io/pause:3.9", Reference("registry.k8s.io", "pause", "3.9")),
        ("localhost:5000/a/b/c", Reference("localhost:5000", "a/b/c", "latest")),
        ("localhost/pet", Reference("localhost", "pet", "latest")),
        ("pet@sha256:" + "0" * 64, Reference("docker.io", "pet", "latest")),
        ("quay.io/library/pet", Reference("quay.io", "library/pet", "latest")),
    ],
)
def test_a_reference_has_registry_repository_and_tag(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", " ", "nginx:", "nginx latest", "-nginx", "luksa//kubia", "nginx:a:b", "../etc", "nginx@sha256:1", "a" * 300],
)
def test_garbage_is_an_invalid_image_name(text: str) -> None:
    with pytest.raises(ImageNotFound, match=r"InvalidImageName: couldn't parse image reference .*: invalid reference"):
        parse_reference(text)


def test_capitals_are_named_as_the_reason() -> None:
    with pytest.raises(ImageNotFound, match="repository name must be lowercase"):
        parse_reference("luksa/Kubia")


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("luksa/kubia", "luksa/kubia:v2", True),
        ("luksa/kubia", "luksa/kubia-pet", False),
        ("luksa/kubia-*", "luksa/kubia-pet", True),
        ("nginx", "registry.example/nginx", True),
        ("nginx", "someone/nginx", False),
        ("registry.example/nginx", "registry.example/nginx:1", True),
        ("registry.example/nginx", "nginx", False),
        ("docker.io/nginx", "nginx", True),
        ("localhost:5000/nginx:1.*", "localhost:5000/nginx:1.2", True),
        ("nginx:1.*", "nginx:1.25", True),
        ("nginx:1.*", "nginx", False),
    ],
)
def test_a_pattern_leaves_open_what_it_does_not_name(pattern: str, text: str, matches: bool) -> None:
    catalogue = Catalogue([Program("one", (pattern,), python="guest:main")])
    if matches:
        assert catalogue.find(text)[1].name == "one"
    else:
        with pytest.raises(ImageNotFound, match="not in the catalogue"):
            catalogue.find(text)


def test_the_first_entry_wins_and_names_the_image() -> None:
    first, second = (Program(name, ("pet",), python="guest:main", ports=(80,)) for name in ("first", "second"))
    image, program = Catalogue([first, second]).find("pet:v1")
    assert program is first
    assert (image.reference, image.ports) == ("pet:v1", (80,))
    assert image.id.startswith("docker.io/pet@sha256:")
    assert Catalogue([second]).find("pet:v1")[0].id != image.id


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param(
            Program("store", ("store",), command=("no-such-program", "--flag"), package="store-server"),
            ["'store'", "the program 'no-such-program'", "install it (Debian: apt-get install store-server)"],
            id="command",
        ),
        pytest.param(
            Program("store", ("store",), python="guest:main", needs=("sh", "no-such-program")),
            ["'no-such-program'", "install it, or say with `petset image add FILE`"],
            id="what it starts",
        ),
        pytest.param(
            Program("store", ("store",), command=("sh",), user="no-such-user"), ["the user 'no-such-user'"], id="user"
        ),
    ],
)
def test_what_is_not_installed_is_named_with_the_remedy(program: Program, words: list[str]) -> None:
    with pytest.raises(ImageNotFound) as caught:
        Catalogue([program]).find("store:1")
    for word in ['image "store:1"', *words]:
        assert word in str(caught.value)


def test_an_entry_that_cannot_run_here_makes_way_for_the_next() -> None:
    real, stand_in = (Program(name, ("store",), command=(name,)) for name in ("no-such-program", "sh"))
    assert Catalogue([real, stand_in]).find("store")[1] is stand_in
    with pytest.raises(ImageNotFound, match="no-such-program"):
        Catalogue([real]).find("store")


def test_programs_are_looked_for_in_the_newest_of_the_entrys_folders_first(tmp_path: Path) -> None:
    for version in ("9", "15"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "store").touch(mode=0o755)
    program = Program("store", ("store",), command=("store",), path=(f"{tmp_path}/*",))
    assert Catalogue([program]).find("store")[1] is program
    assert program.search_path.startswith(f"{tmp_path}/15:{tmp_path}/9:")


def shipped() -> Catalogue:
    return Catalogue(shipped_programs())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("luksa/kubia", "kubia"),
        ("luksa/kubia:v1", "kubia"),
        ("luksa/kubia-pet", "kubia-pet"),
        ("docker.io/luksa/kubia-pet-peers:latest", "kubia-pet-peers"),
        ("registry.k8s.io/pause:3.9", "pause"),
        ("gcr.io/google_containers/pause:3.1", "pause"),
    ],
)
def test_the_shipped_catalogue_knows(text: str, name: str) -> None:
    assert shipped().find(text)[1].name == name


@pytest.mark.parametrize(
    "text",
    [
        "nginx:latest",
        "k8s.gcr.io/nginx-slim:0.8",
        "registry.k8s.io/nginx-slim:0.24",
        "gcr.io/google_containers/nginx-slim:0.7",
    ],
)
def test_nginx_is_the_hosts_or_the_stand_in(text: str) -> None:
    installed = shutil.which("nginx", path=f"/usr/sbin:{os.environ['PATH']}") is not None
    assert shipped().find(text)[1].name == ("nginx" if installed else "web")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("redis:7-alpine", "redis"),
        ("postgres:15", "postgres"),
        ("node:20-alpine", "nodejs"),
        ("quay.io/coreos/etcd:v3.5.9", "etcd"),
    ],
)
def test_real_programs_are_the_hosts_or_named_with_their_package(text: str, name: str) -> None:
    [program] = [each for each in shipped_programs() if each.name == name]
    if program.missing:
        with pytest.raises(ImageNotFound, match=rf"{program.package}"):
            shipped().find(text)
    else:
        assert shipped().find(text)[1] == program


def test_own_entries_come_before_the_shipped_ones(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("images: [{name: mine, match: nginx, command: [sh]}]")
    catalogue = Catalogue([*read_catalogue(file), *shipped_programs()])
    assert catalogue.find("nginx")[1].name == "mine"
    assert catalogue.find("luksa/kubia")[1].name == "kubia"
    assert "petset.petapp.kubia_pet" in catalogue.python_modules


def test_every_field_is_read() -> None:
    text = """
    images:
      - name: store
        match: [store, "store-*"]
        command: [sh]
        args: [--bind, "{address}"]
        env: {DATA: "{mount:/data}", HOST: "{hostname}"}
        files: {/etc/store.conf: "bind {bind}"}
        working_dir: /data
        user: store
        ports: [6379]
        path: ["/usr/lib/store/*/bin"]
        needs: [cat]
        package: store-server
    """
    assert parse_catalogue(text, source="own.yaml") == [
        Program(
            name="store",
            match=("store", "store-*"),
            command=("sh",),
            args=("--bind", "{address}"),
            env={"DATA": "{mount:/data}", "HOST": "{hostname}"},
            files={"/etc/store.conf": "bind {bind}"},
            working_dir="/data",
            user="store",
            ports=(6379,),
            path=("/usr/lib/store/*/bin",),
            needs=("cat",),
            package="store-server",
        )
    ]


GOOD = "name: pet, match: pet, python: 'guest:main'"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", ["not YAML"], id="not YAML"),
        pytest.param("[]", ["a list called images"], id="not a mapping"),
        pytest.param("images: {}", ["a list called images"], id="images is no list"),
        pytest.param("images: [pet]", ["images[1]", "mapping"], id="an entry that is text"),
        pytest.param(f"images: [{{{GOOD}}}, {{match: pet}}]", ["images[2]", "name: is missing"], id="no name"),
        pytest.param("images: [{name: pet}]", ["images[1] (pet)", "match: is missing"], id="no match"),
        pytest.param("images: [{name: pet, match: pet}]", ["(pet)", "one of python and command"], id="no program"),
        pytest.param(f"images: [{{{GOOD}, command: [a]}}]", ["(pet)", "one of python and command"], id="two programs"),
        pytest.param(f"images: [{{{GOOD}, colour: red}}]", ["(pet)", "'colour'", "working_dir"], id="unknown field"),
        pytest.param("images: [{name: pet, match: pet, python: guest}]", ["python", "module:function"], id="python"),
        pytest.param("images: [{name: pet, match: pet, command: sh -c}]", ["command", "list"], id="command as text"),
        pytest.param("images: [{name: pet, match: [1], command: [a]}]", ["match", "1 is not text"], id="match"),
        pytest.param(f"images: [{{{GOOD}, env: {{A: 1}}}}]", ["env: A: 1", "quote"], id="env value"),
        pytest.param(f"images: [{{{GOOD}, env: {{A: '{{adress}}'}}}}]", ["env", "{address}"], id="unknown placeholder"),
        pytest.param(f"images: [{{{GOOD}, env: {{A: '{{mount:x}}'}}}}]", ["env", "{mount:"], id="relative mount"),
        pytest.param(f"images: [{{{GOOD}, ports: [0]}}]", ["ports", "[0]"], id="port 0"),
        pytest.param(f"images: [{{{GOOD}, ports: [yes]}}]", ["ports", "[True]"], id="a port that is a truth value"),
        pytest.param(f"images: [{{{GOOD}, files: {{etc/a: x}}}}]", ["files", "'etc/a'", "absolute"], id="file's path"),
        pytest.param(f"images: [{{{GOOD}, files: {{/etc/a: 1}}}}]", ["files: /etc/a: 1", "quote"], id="file's text"),
        pytest.param(f"images: [{{{GOOD}, path: [bin]}}]", ["path", "absolute"], id="relative path"),
        pytest.param(f"images: [{{{GOOD}, user: 0}}]", ["user", "0 is not text"], id="user"),
        pytest.param(f"images: [{{{GOOD}, needs: psql}}]", ["needs", "list"], id="needs"),
        pytest.param("{images: [], colour: red}", ["unknown field 'colour'"], id="unknown field at the top"),
        pytest.param(f"images: [{{{GOOD}, working_dir: data}}]", ["working_dir", "absolute"], id="working_dir"),
    ],
)
def test_a_bad_catalogue_is_one_clear_error(text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_catalogue(text, source="own.yaml")
    for word in ["own.yaml", *words]:
        assert word in str(caught.value)


def test_a_catalogue_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.yaml"):
        read_catalogue(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("{address}:80 on {hostname}", "10.0.0.1:80 on pet-0"),
        ("{mount:/var/data}/x", "/host/var/data/x"),
        ("{resolv_conf}", "/pod/resolv.conf"),
        ('{"json": 1}', '{"json": 1}'),
        ("{file:/etc/a}", "/host/etc/a"),
        ("server { listen 80; }", "server { listen 80; }"),
        ("{unknown}", "{unknown}"),
    ],
)
def test_placeholders_are_filled_in(text: str, filled: str) -> None:
    values = {"address": "10.0.0.1", "hostname": "pet-0", "resolv_conf": "/pod/resolv.conf"}
    assert fill_placeholders(text, values, lambda kind, path: f"/host{path}") == filled
