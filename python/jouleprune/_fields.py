"""Dataclasses from parsed JSON: every field has the type that the class declares, or an error names it."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

__all__ = ["array_of_objects", "checked", "fields_of", "object_of", "text_of"]

_Made = TypeVar("_Made")
_WORDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    dict: "an object",
    list: "an array",
}


def checked(value: Any, kind: type, where: str) -> Any:
    """``value`` as ``kind``: a whole number is a number too, a bool is none.

    Raises:
        ValueError: another type, or a number that is not finite; ``where`` comes first in the message.
    """
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {_WORDS[kind]}, got {_shown(value)}")


def object_of(value: Any, where: str) -> dict[str, Any]:
    found: dict[str, Any] = checked(value, dict, where)
    return found


def array_of_objects(value: Any, where: str) -> list[dict[str, Any]]:
    return [object_of(item, f"{where}[{place}]") for place, item in enumerate(checked(value, list, where))]


def fields_of(kind: type[_Made], data: Mapping[str, Any], where: str) -> _Made:
    """A ``kind``, a dataclass of plain fields, from an object with these very keys; those with a default may be
    missing.

    Raises:
        ValueError: a field is unknown, missing, or of another type.
    """
    hints, declared = _declared(typing.cast(Any, kind))
    for name in data:
        if name not in declared:
            raise ValueError(f"{where}.{name}: unknown; expected {', '.join(declared)}")
    made = {}
    for name, field in declared.items():
        if name not in data:
            if field.default is not dataclasses.MISSING:
                continue
            raise ValueError(f"{where}.{name}: missing")
        made[name] = _field(data[name], hints[name], f"{where}.{name}")
    return kind(**made)


@cache
def _declared(kind: type) -> tuple[dict[str, Any], dict[str, dataclasses.Field[Any]]]:
    """Types and fields by name: read once, since plans have a line for each layer."""
    return typing.get_type_hints(kind), {field.name: field for field in dataclasses.fields(kind)}


def text_of(text: object, where: str) -> str:
    """A string, also from bytes in UTF-8."""
    if isinstance(text, bytes | bytearray):
        try:
            return bytes(text).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: expected text in UTF-8, got {error}") from error
    if not isinstance(text, str):
        raise ValueError(f"{where}: expected a string, got {type(text).__name__}")
    return text


def _field(value: Any, hint: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):  # "float | None"
        if value is None:
            return None
        hint = next(kind for kind in hint.__args__ if kind is not types.NoneType)
    return checked(value, hint, where)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
