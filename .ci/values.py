#!/usr/bin/env python3
"""The table of values in the chart's README, from their schema and their defaults: writes it anew when it is run."""

import json
import re
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parent.parent / "helm/portcullis"
# What is the binary's: the names are its options and settings.
OPEN = ("options", "webhook.options", "webhook.inject")
MARKS = ("<!-- values: begin -->", "<!-- values: end -->")


def tree(part_of, before=""):
    """Path and schema of every value, from the outside in."""
    for name, part in part_of.get("properties", {}).items():
        yield before + name, part
        yield from tree(part, f"{before}{name}.")
        if isinstance(part.get("items"), dict):
            yield from tree(part["items"], f"{before}{name}[].")


def is_open(path):
    """Whether it is in one of those."""
    return path.startswith(tuple(f"{each}." for each in OPEN))


def default_of(values, path):
    found = values
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return ""
        found = found[key]
    text = json.dumps(found, separators=(", ", ": "))
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def table():
    values = defaults()
    rows = ["| value | default | |", "|---|---|---|"]
    for path, part in tree(schema()):
        # Of what has parts of its own, the parts are what can be set; options are those of the sidecar.
        if "properties" in part and path not in OPEN or is_open(path) or "[]" in path:
            continue
        # What is another chart's or Helm's.
        if path in ("global", "enabled"):
            continue
        said = re.sub(r"\s+", " ", part["description"]).replace("|", "\\|").replace("<", "\\<")
        rows.append(f"| `{path}` | {default_of(values, path)} | {said} |")
    return "\n".join(rows)


def main():
    readme = CHART / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
