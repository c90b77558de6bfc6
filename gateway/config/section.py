"""What every section of a YAML file has in common: frozen, closed to unknown keys, forgiving about an empty value. No sections live here."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo


def nullable(field: FieldInfo) -> bool:
    """Whether `null` is a value of this field rather than a field left empty."""
    return get_origin(field.annotation) in (Union, UnionType) and type(None) in get_args(field.annotation)


class Section(BaseModel):
    """One mapping of the file. A key left empty (or filled from an empty variable) means its default, as does a section left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if data is None:
            data = {}
        if not isinstance(data, dict):
            return data
        filled: dict[str, Any] = {}
        for name, value in data.items():
            field = cls.model_fields.get(name)
            if field is None:
                filled[name] = value
            elif nullable(field):
                filled[name] = None if isinstance(value, str) and value in {"", "null"} else value
            elif value is not None or field.is_required():
                filled[name] = value
        for name, field in cls.model_fields.items():
            # validated from nothing rather than taken from a default instance, so that its own default paths see the file's directory
            if name not in filled and isinstance(field.annotation, type) and issubclass(field.annotation, Section) and not field.is_required():
                filled[name] = {}
        return filled
