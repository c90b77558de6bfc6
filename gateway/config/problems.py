"""What pydantic found, said in the words of the file: which key, what it must be, what it is now. Secrets are never repeated. Also the unknown-key helper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.document import Document, Loc

HIDDEN = frozenset({"api_key", "admin_key", "headers", "env", "database", "redis", "base_url", "urls", "webhook", "secret"})
_SHOWN = 60
_WORDING = {
    "string_type": "must be text (put it in quotes)",
    "string_too_short": "must not be empty",
    "string_unicode": "must be text in UTF-8",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "decimal_type": "must be an amount in dollars such as 2.50",
    "decimal_parsing": "must be an amount in dollars such as 2.50",
    "decimal_max_places": "must have at most {decimal_places} decimal places",
    "decimal_whole_digits": "is too large",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "path_type": "must be a path",
    "tuple_type": "must be a list: [a, b] or lines that begin with -",
    "dict_type": "must be a mapping: lines of `key: value`",
    "model_type": "must be a mapping: lines of `key: value`",
    "too_short": "needs at least one entry",
    "missing": "is required: add it",
}


def similar(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def shape(document: Document, model: type[BaseModel], error: ValidationError) -> Iterator[tuple[Loc, str]]:
    """Each thing pydantic objects to, as the place and the message. What stands where a variable is not set was reported already."""
    for detail in error.errors(include_url=False, include_input=False):
        loc = detail["loc"]
        node = document.place(loc).node
        # pydantic counts the sound entries only: a list whose one entry is wrong has that problem and no other
        counted_out = detail["type"] == "too_short" and node is not None and bool(node.value)
        if not counted_out and not document.is_unset(loc):
            yield loc, _message(document, model, detail)


def _message(document: Document, model: type[BaseModel], detail: ErrorDetails) -> str:
    loc, kind = detail["loc"], detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = fields_at(model, loc[:-1])
        return f"is not a key I know{similar(str(loc[-1]), known)}: known here are {', '.join(known)}"
    said = _WORDING.get(kind, detail["msg"].replace("{", "{{").replace("}", "}}")).format(**context)
    return (str(context["error"]) if kind == "value_error" else said) + _now(document, loc, kind)


def _now(document: Document, loc: Loc, kind: str) -> str:
    """`, not 'x'`: what the file says now, where that is a short scalar that cannot be a secret."""
    node = document.place(loc).node
    if kind in {"missing", "too_short"} or node is None or node.secret or HIDDEN & set(loc):
        return ""
    if isinstance(node.value, list):
        return ", not a list"
    if isinstance(node.value, dict):
        return ", not a mapping"
    shown = {True: "true", False: "false"}[node.value] if isinstance(node.value, bool) else "null" if node.value is None else repr(node.value)
    return f", not {shown[:_SHOWN]}"


def fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys a mapping at `loc` may have; empty where any key goes."""
    found: object = model
    for part in loc:
        found = _inside(found, part)
    found = _section(found)
    return list(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def _inside(kind: object, part: str | int) -> object:
    kind = _section(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[str(part)].annotation
    inner = get_args(kind)
    return inner[1] if get_origin(kind) is dict else inner[0]


def _section(kind: object) -> object:
    """`X` of `X | None`."""
    if get_origin(kind) in (Union, UnionType):
        return next(inner for inner in get_args(kind) if inner is not type(None))
    return kind
