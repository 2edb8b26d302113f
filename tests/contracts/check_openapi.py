#!/usr/bin/env python3
"""Checks the OpenAPI document: that it is valid, that its examples are, and that it describes the router, no less and no more.

    python3 check_openapi.py ../../shared/http/src/openapi.json
    python3 check_openapi.py http://127.0.0.1:8080/openapi.json

Prints what is wrong, a line each, and exits 1 on any. Start reading at `check`.
"""

import json
import pathlib
import re
import sys
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"
ROUTER = SHARED / "http" / "src" / "lib.rs"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
FETCH_TIMEOUT_S = 10
DOCUMENT = "urn:recoup:openapi"
# Lists of names that the document and the code share: the keys that lead to the list's schema, the source, the enumeration in it.
NAMES = (
    (("ItemProblem", "properties", "type"), "metering/src/item.rs", "Problem"),
    (("TokenClass",), "model/src/usage.rs", "TokenClass"),
    (("Kind",), "model/src/event.rs", "Kind"),
    (("FindingKind",), "model/src/finding.rs", "FindingKind"),
    (("UnpricedReason",), "model/src/rating.rs", "UnpricedReason"),
)
# Names that come from elsewhere: that an identity is there with other content is found by the event log.
FURTHER = {"Problem": {"conflict"}}


def load(place):
    """The document at a path or an address."""
    if place.startswith(("http://", "https://")):
        with urllib.request.urlopen(place, timeout=FETCH_TIMEOUT_S) as answer:
            return json.load(answer)
    return json.loads(pathlib.Path(place).read_text(encoding="utf-8"))


def pointer(path):
    """A JSON pointer as a URI fragment."""
    tokens = (str(token).replace("~", "~0").replace("/", "~1") for token in path)
    return "".join("/" + urllib.request.quote(token, safe="~") for token in tokens)


class Examples:
    """Walks the document and validates each example and default against the schema that it stands beside."""

    def __init__(self, document):
        resource = Resource(contents=document, specification=DRAFT202012)
        self.registry = Registry().with_resource(DOCUMENT, resource)
        self.document = document
        self.problems = []
        self.seen = 0

    def judge(self, schema_path, value, where):
        self.seen += 1
        schema = {"$ref": f"{DOCUMENT}#{pointer(schema_path)}"}
        checker = Draft202012Validator.FORMAT_CHECKER
        for error in Draft202012Validator(schema, registry=self.registry, format_checker=checker).iter_errors(value):
            self.problems.append(f"{pointer(where)}: at {error.json_path}: {error.message[:300]}")

    def walk(self, node, path=()):
        if isinstance(node, list):
            for at, item in enumerate(node):
                self.walk(item, (*path, at))
        elif isinstance(node, dict):
            self.beside_schema(node, path)
            self.inside_schema(node, path)
            for name, item in node.items():
                if name not in ("example", "examples", "default", "enum", "const"):
                    self.walk(item, (*path, name))

    def beside_schema(self, node, path):
        """Media types, parameters and headers: `schema` with `example` or named `examples`."""
        if not isinstance(node.get("schema"), dict):
            return
        values = {("example",): node["example"]} if "example" in node else {}
        for name, example in node.get("examples", {}).items():
            values["examples", name] = example["value"]
        for at, value in values.items():
            self.judge((*path, "schema"), value, (*path, *at))
            if path[-1] == "application/x-ndjson":
                self.lines(value, (*path, *at))

    def lines(self, text, where):
        for number, line in enumerate(text.splitlines(), 1):
            self.judge(("components", "schemas", "Event"), json.loads(line), (*where, number))

    def inside_schema(self, node, path):
        """Schemas: their own `examples` and `default`."""
        in_schema = "schema" in path or path[:2] == ("components", "schemas")
        if not in_schema or path[-1] in ("properties", "schemas"):
            return
        if isinstance(node.get("examples"), list):
            for at, value in enumerate(node["examples"]):
                self.judge(path, value, (*path, "examples", at))
        if "default" in node:
            self.judge(path, node["default"], (*path, "default"))


def routes(source):
    """(path, method) of every `.route("...", get(...).post(...))` in the router."""
    found = set()
    for match in re.finditer(r'\.route\(\s*"([^"]+)"\s*,', source):
        depth, at = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(source[at], 0)
            at += 1
        methods = re.findall(rf"\b({'|'.join(METHODS)})\(", source[match.end() : at])
        if not methods:
            raise SystemExit(f"check_openapi: no method is understood in the route {match[1]}")
        found |= {(match[1], method) for method in methods}
    return found


def check_routes(document):
    described = {(path, method) for path, item in document["paths"].items() for method in item if method in METHODS}
    served = routes(ROUTER.read_text(encoding="utf-8"))
    missing = [f"{method.upper()} {path} is served and not described" for path, method in sorted(served - described)]
    return missing + [f"{method.upper()} {path} is described and not served" for path, method in sorted(described - served)]


def variants(source, name):
    """The variants of a Rust enumeration, in small letters."""
    body = re.search(rf"enum {name} \{{\n(.*?)\n\}}", source, re.DOTALL)[1]
    return {variant.lower() for variant in re.findall(r"^ +([A-Z]\w*),$", body, re.MULTILINE)}


def check_names(document):
    problems = []
    for (schema, *keys), path, name in NAMES:
        node = document["components"]["schemas"][schema]
        for key in keys:
            node = node[key]
        known = {re.sub("[-_]", "", value) for value in node["enum"]} - FURTHER.get(name, set())
        differing = variants((SHARED / path).read_text(encoding="utf-8"), name) ^ known
        problems += [f"{schema}: `{other}` stands in only one of the document and {path}" for other in sorted(differing)]
    return problems


def references(document):
    """References that lead nowhere, and components that nothing refers to."""
    used = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))
    kinds = ("schemas", "parameters", "responses")
    held = {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"][kind]}
    nowhere = [f"{reference} is referred to and not there" for reference in sorted(used - held)]
    return nowhere, [f"{component} is not used" for component in sorted(held - used)]


def check(document):
    """Everything that is wrong with the document, in words, and how many examples and defaults were looked at."""
    problems, unused = references(document)
    if not problems:
        errors = OpenAPIV31SpecValidator(document).iter_errors()
        problems = [f"{pointer(error.absolute_path)}: {error.message.splitlines()[0]}" for error in errors]
    if problems:
        return problems, 0
    examples = Examples(document)
    examples.walk(document)
    return examples.problems + check_routes(document) + check_names(document) + unused, examples.seen


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    document = load(sys.argv[1])
    problems, examples = check(document)
    for problem in problems:
        print(f"check_openapi: {problem}", file=sys.stderr)
    if problems:
        raise SystemExit(1)
    operations = sum(method in METHODS for item in document["paths"].values() for method in item)
    print(f"check_openapi: {operations} operations, {examples} examples and defaults, all in order")


if __name__ == "__main__":
    main()
