"""Make cluster/api/protobuf_messages.json: which field number of a Kubernetes message means which JSON field.

    python tools/protobuf_messages.py /path/to/kubectl

Every Go client carries the descriptors of the messages that it can send, gzipped, in its binary (that is how Go's
protobuf runtime describes itself). This script finds them in a kubectl binary, takes the stable kinds with all that
they contain, and writes field numbers, names and types: facts, which Kubernetes never changes. The pinned input is
kubectl 1.33; the version and SHA-256 of the binary that was read stand in the table itself. To serve a newer
release, run it again with that release's kubectl, beside the definitions that schema.py names.

JSON names come from the official definitions: a proto field that its definition does not have is a Go struct embedded
in another (`Volume.volumeSource`), whose fields stand in their parent in JSON. Needs the `protobuf` package, which Ray
brings along.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from petset.cluster.api.release import RELEASE
from petset.cluster.api.schema import load_schemas

TABLE = Path(__file__).parent.parent / "cluster" / "api" / "protobuf_messages.json"
MAX_DESCRIPTOR_BYTES = 4_000_000
META = "k8s.io.apimachinery.pkg.apis.meta.v1"
_STABLE = re.compile(r"k8s\.io\.api\.([a-z]+)\.(v[0-9]+)")
_GZIP = b"\x1f\x8b\x08"
_SCALARS = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_UINT32: "int",
    FieldDescriptorProto.TYPE_UINT64: "int",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
}


def descriptors(binary: bytes) -> Iterator[FileDescriptorProto]:
    """Every protobuf file of Kubernetes that a Go binary describes."""
    for found in re.finditer(re.escape(_GZIP), binary):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            raw = unpacker.decompress(binary[found.start() : found.start() + MAX_DESCRIPTOR_BYTES])
        except zlib.error:
            continue
        if not unpacker.eof or b"k8s.io" not in raw[:200]:
            continue
        yield FileDescriptorProto.FromString(raw)


def messages_of(files: list[FileDescriptorProto]) -> dict[str, DescriptorProto]:
    """Messages by full name, e.g. `k8s.io.api.core.v1.Pod`."""
    return {f"{file.package}.{message.name}": message for file in files for message in file.message_type}


def fields_of(full_name: str, message: DescriptorProto) -> dict[str, list[str]]:
    """Field number to [JSON name, type, form]; the form is `one`, `list`, `map` or `inline`."""
    definition = load_schemas().definitions.get(full_name.replace("k8s.io.", "io.k8s.", 1), {})
    names = {name.lower(): name for name in definition.get("properties", {})}
    entries = {entry.name: entry for entry in message.nested_type if entry.options.map_entry or entry.field}
    table: dict[str, list[str]] = {}
    for field in message.field:
        name = names.get(field.name.lower(), field.name)
        form = "list" if field.label == FieldDescriptorProto.LABEL_REPEATED else "one"
        type_ = type_of(field)
        entry = entries.get(type_.rpartition(".")[2])
        if entry is not None and field.type_name.startswith(f".{full_name}."):
            form, type_ = "map", type_of(entry.field[1])
        elif names and field.name.lower() not in names and form == "one" and type_ not in _SCALARS.values():
            form = "inline"
        table[str(field.number)] = [name, type_, form]
    return table


def type_of(field: FieldDescriptorProto) -> str:
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        return field.type_name.removeprefix(".")
    return _SCALARS[field.type]


def roots_of(messages: dict[str, DescriptorProto]) -> dict[str, str]:
    """`group/version/kind` of everything that the definitions know in a stable version, and DeleteOptions."""
    roots = {"//DeleteOptions": f"{META}.DeleteOptions"}
    for definition_name, definition in load_schemas().definitions.items():
        full_name = definition_name.replace("io.k8s.", "k8s.io.", 1)
        rows = definition.get("x-kubernetes-group-version-kind") or []
        if len(rows) != 1 or full_name not in messages or rows[0]["kind"].endswith("List"):
            continue
        if _STABLE.fullmatch(full_name.rpartition(".")[0]):
            roots["{group}/{version}/{kind}".format(**rows[0])] = full_name
    return roots


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    binary = Path(sys.argv[1]).read_bytes()
    version = json.loads(subprocess.check_output([sys.argv[1], "version", "--client", "-o", "json"]))
    known = messages_of(list(descriptors(binary)))
    roots = roots_of(known)
    wanted, table = list(roots.values()), dict[str, dict[str, list[str]]]()
    while wanted:
        name = wanted.pop()
        if name not in table and name in known:
            table[name] = fields_of(name, known[name])
            wanted.extend(type_ for _, type_, _ in table[name].values())
    about = (
        f"Made by tools/protobuf_messages.py from kubectl {version['clientVersion']['gitVersion']} (SHA-256 "
        f"{hashlib.sha256(binary).hexdigest()}) and the definitions of {RELEASE}. Field numbers never change."
    )
    lines = [f"{json.dumps(name)}: {json.dumps(table[name], separators=(',', ':'))}" for name in sorted(table)]
    text = ",\n".join(lines)
    head = f'"about": {json.dumps(about)},\n"roots": {json.dumps(roots, sort_keys=True)}'
    TABLE.write_text(f'{{{head},\n"messages": {{\n{text}\n}}}}\n')
    print(f"{len(roots)} kinds, {len(table)} messages, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
