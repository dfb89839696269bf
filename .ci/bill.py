#!/usr/bin/env python3
"""The bill of materials: what the binary is made of, by `cargo tree`, in three forms that must agree.

    bill.py list TRIPLE OUT             what cargo-auditable is to put into the binary
    bill.py sbom TRIPLE BINARY OUT      CycloneDX 1.6, the same bytes for the same commit and binary
    bill.py check TRIPLE BINARY SBOM BUILT
                                        holds the binary and the SBOM against the tree, and all of them against the
                                        packages that cargo has compiled (BUILT: cargo's messages in JSON)

Not `cargo metadata`, which cargo-auditable and cargo-cyclonedx ask by themselves: it adds the features that only tests turn
on, and so names crates that nobody compiles (rust-lang/cargo#10718; `ring` would be one). Only what manifests say is read from it.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import uuid
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent


class Package(NamedTuple):
    name: str
    version: str

    def __str__(self):
        return f"{self.name}@{self.version}"


def output(*command):
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout


def tree(triple, edges):
    """Who depends on whom, the root first, and what each says about itself."""
    lines = output(
        "cargo", "tree", "--locked", "--target", triple, "--edges", edges,
        "--prefix", "depth", "--format", "\t{p}\t{l}\t{r}",
    )  # fmt: skip
    graph, about, above = {}, {}, []
    for line in lines.splitlines():
        depth, package, licence, source = line.split("\t")
        name, version = package.split()[:2]
        package = Package(name, version.removeprefix("v"))
        # What stands after a source is "(*)": shown in full further up.
        about[package] = (licence.replace("/", " OR "), source.removesuffix(" (*)"))
        del above[int(depth) :]
        graph.setdefault(package, set())
        if above:
            graph[above[-1]].add(package)
        above.append(package)
    return graph, about


def without_idle_helpers(triple, root, graph):
    """What is left of the tree when nothing hangs on a build script that a package does not have.

    Such a package may still name helpers for one: `cargo tree` follows them, and nobody compiles them.
    """
    idle = set()
    for one in json.loads(output("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple))["packages"]:
        if not any("custom-build" in target["kind"] for target in one["targets"]):
            kinds = {}
            for dependency in one["dependencies"]:
                kinds.setdefault(dependency["name"], set()).add(dependency["kind"])
            package = Package(one["name"], one["version"])
            idle |= {(package, name) for name, kind in kinds.items() if "build" in kind and None not in kind}
    kept, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package not in kept:
            kept[package] = {other for other in graph[package] if (package, other.name) not in idle}
            waiting += kept[package]
    return kept


class Bill:
    """Everything that is compiled for the binary, and which part of it is linked."""

    def __init__(self, triple):
        self.linked, _ = tree(triple, "normal,no-proc-macro")
        named, self.about = tree(triple, "normal,build")
        self.root = next(iter(named))
        self.all = without_idle_helpers(triple, self.root, named)
        lock = tomllib.loads((CHECKOUT / "Cargo.lock").read_text())
        self.locked = {Package(one["name"], one["version"]): one for one in lock["package"]}

    def is_ours(self, package):
        return "source" not in self.locked[package]


def cargo_list(bill):
    """As `cargo -Z sbom` writes it (docs of Cargo, "SBOM"), of which cargo-auditable reads root, ids and edges."""
    order = sorted(bill.all)
    place = {package: index for index, package in enumerate(order)}

    def crate(package):
        source = "path+file:///src" if bill.is_ours(package) else bill.locked[package]["source"]
        linked = bill.linked.get(package, ())
        edges = [
            {"index": place[other], "kind": "normal" if other in linked else "build"}
            for other in sorted(bill.all[package])
        ]
        return {"id": f"{source}#{package}", "kind": [], "features": [], "dependencies": edges}

    known = dict(line.split(": ", 1) for line in output("rustc", "-vV").splitlines()[1:])
    rustc = {"version": known["release"], "commit_hash": known["commit-hash"], "host": known["host"], "verbose_version": ""}
    return {"version": 1, "root": place[bill.root], "crates": [crate(one) for one in order], "rustc": rustc}


def sbom(bill, triple, binary):
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()

    def component(package):
        licence, source = bill.about[package]
        ours = bill.is_ours(package)
        found = {
            "type": "application" if package == bill.root else "library",
            "bom-ref": str(package),
            "name": package.name,
            "version": package.version,
            "scope": "required" if package in bill.linked else "excluded",
            "licenses": [{"expression": licence}],
        }
        if package == bill.root:
            found["hashes"] = [{"alg": "SHA-256", "content": digest}]
        elif not ours:
            found["hashes"] = [{"alg": "SHA-256", "content": bill.locked[package]["checksum"]}]
        if not ours:
            found["purl"] = f"pkg:cargo/{package.name}@{package.version}"
        if source:
            found["externalReferences"] = [{"type": "vcs", "url": source}]
        return found

    tools = {name: output(name, "--version").splitlines()[0].removeprefix(f"{name} ") for name in ("cargo", "rustc", "cc")}
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or output("git", "log", "-1", "--format=%ct"))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "lifecycles": [{"phase": "build"}],
            "tools": {
                "components": [
                    {"type": "application", "name": name, "version": version} for name, version in tools.items()
                ]
            },
            "component": component(bill.root),
            "properties": [{"name": "cdx:rustc:sbom:target:triple", "value": triple}],
        },
        "components": [component(package) for package in sorted(bill.all) if package != bill.root],
        "dependencies": [
            {"ref": str(package), "dependsOn": [str(other) for other in sorted(bill.all[package])]}
            for package in sorted(bill.all)
        ],
    }


def in_binary(binary):
    """What cargo-auditable has put there: those that are linked, and all."""
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "packed"
        output("objcopy", "--dump-section", f".dep-v0={packed}", str(binary), "/dev/null")
        if not packed.exists():
            sys.exit(f"{binary} has no list of packages in it (section .dep-v0)")
        packages = json.loads(zlib.decompress(packed.read_bytes()))["packages"]
    kinds = {Package(one["name"], one["version"]): one.get("kind", "runtime") for one in packages}
    return {package for package, kind in kinds.items() if kind == "runtime"}, set(kinds)


def in_sbom(document):
    parts = [document["metadata"]["component"], *document["components"]]
    scopes = {Package(one["name"], one["version"]): one["scope"] for one in parts}
    return {package for package, scope in scopes.items() if scope == "required"}, set(scopes)


def compiled(messages):
    """The packages of which cargo says that something was compiled, or was there already."""
    found = set()
    for line in messages.read_text().splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact":
            source, _, package = message["package_id"].partition("#")
            # The name is left out where it is that of the folder.
            name, _, version = package.rpartition("@")
            found.add(Package(name or source.rpartition("/")[2], version))
    return found


def check(bill, binary, document, messages):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.spdx import is_expression
    from cyclonedx.validation.json import JsonStrictValidator

    wrong = []
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.read_text())
    if error:
        wrong.append(f"the SBOM is no CycloneDX 1.6: {str(error).splitlines()[0]}")
    parts = json.loads(document.read_text())
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    if parts["metadata"]["component"]["hashes"][0]["content"] != digest:
        wrong.append("the SBOM is that of another binary")
    for part in parts["components"]:
        if not is_expression(part["licenses"][0]["expression"]):
            wrong.append(f"{part['bom-ref']}: no SPDX expression: {part['licenses']}")
    linked, everything = set(bill.linked), set(bill.all)
    for where, (here_linked, here) in {"binary": in_binary(binary), "SBOM": in_sbom(parts)}.items():
        wrong += differences(f"linked, by the {where}", here_linked, linked)
        wrong += differences(f"compiled, by the {where}", here, everything)
    wrong += differences("compiled, by cargo's messages", compiled(messages), everything)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"binary and SBOM name the {len(linked)} packages that are linked, this one included")
    print(f"and the {len(everything) - len(linked)} that only helped to build it; cargo compiled these and no others")
    print(f"the SBOM is CycloneDX 1.6; sha256 of the binary {digest}")


def differences(what, seen, wanted):
    for verb, packages in (("is", seen - wanted), ("is not", wanted - seen)):
        if packages:
            yield f"{', '.join(map(str, sorted(packages)))} {verb} {what}, other than by cargo tree"


def main():
    match sys.argv[1:]:
        case ["list", triple, out]:
            write(Path(out), cargo_list(Bill(triple)))
        case ["sbom", triple, binary, out]:
            write(Path(out), sbom(Bill(triple), triple, Path(binary)))
        case ["check", triple, binary, document, messages]:
            check(Bill(triple), Path(binary), Path(document), Path(messages))
        case _:
            sys.exit(__doc__)


def write(path, document):
    path.write_text(json.dumps(document, indent=2) + "\n")


main()
