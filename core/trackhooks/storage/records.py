"""Encode what MessagePack cannot hold, and decode what a later version wrote: the rare cases of a record.

`journal` encodes and decodes ordinary records itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from numbers import Real
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec

from ..errors import InvalidValueError
from ..errors.foreign import Failure, attempt
from ..event import Event
from .decoding import UNDECODABLE

LeaveOut = Callable[[str], None]
"""Is called with the name of each part of a record that cannot be read here, such as `media 'audio'`."""

_UNREADABLE: Any = object()


def encode_anything(event: Event) -> bytes:
    """Encode an event that the encoder refuses, with a number or string in place of each value that it cannot hold.

    Raises:
        InvalidValueError: No reader could read the record.
    """
    found = attempt(_encode_builtins, event)
    why = found.why if isinstance(found, Failure) else _undecodable(found)
    if isinstance(found, Failure) or why:
        raise InvalidValueError(f"the record of {event.hook!s} cannot be stored: {why}.")
    return found


def unreadable(event: Event) -> str:
    """Return why no reader could read the record of this event; empty if every reader can."""
    payload = attempt(msgspec.msgpack.encode, event)
    try:
        return _undecodable(encode_anything(event) if isinstance(payload, Failure) else payload)
    except InvalidValueError as error:
        return str(error)


def _undecodable(payload: bytes) -> str:
    try:
        msgspec.msgpack.decode(payload, type=Event)
    except UNDECODABLE as error:
        return str(error)
    return ""


def _encode_builtins(event: Event) -> bytes:
    return msgspec.msgpack.encode(_encodable(msgspec.to_builtins(event, enc_hook=_builtin, str_keys=True)))


def _builtin(value: Any) -> Any:
    """Return a number of NumPy as a float, and any other foreign object as its string."""
    return float(value) if isinstance(value, Real) else str(value)


def _encodable(value: Any) -> Any:
    """Replace integers beyond 64 bits by floats, and unpaired surrogates by their escapes."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if value.bit_length() < 1024 else str(value.bit_length()) + " bits"
    return value


def decode_later(payload: bytes, leave_out: LeaveOut) -> Event | None:
    """Decode an event of a later version, without the parts that are not known here.

    These are left out one by one: media of a new type, metrics and parameters whose value has a new type, and fields
    whose type has changed. New fields are ignored. Returns None if the payload is not an event.
    """
    try:
        values = msgspec.msgpack.decode(payload)
    except (*UNDECODABLE, TypeError):  # not MessagePack, or keys that Python cannot hash
        return None
    return _readable_struct(values, Event, "", leave_out) if isinstance(values, dict) else None


def _readable_struct(values: Mapping[Any, Any], struct: Any, name: str, leave_out: LeaveOut) -> Any:
    """Make a struct from the fields that can be read, or return None if it needs one that cannot."""
    parts = {
        field.name: _readable(values[field.name], field.type, f"{name}{field.name}", leave_out)
        for field in msgspec.structs.fields(struct)
        if field.name in values
    }
    try:
        return struct(**{key: part for key, part in parts.items() if part is not _UNREADABLE})
    except TypeError:  # a required field is missing
        return None


def _readable(value: Any, kind: Any, name: str, leave_out: LeaveOut) -> Any:
    """Return the value of a field, without the items that are not of its type."""
    with suppress(msgspec.ValidationError):
        return msgspec.convert(value, kind)
    container, items = get_origin(kind), get_args(kind)
    if container is dict and isinstance(value, dict):
        return _readable_values(value, kind, name, leave_out)
    if container is list and isinstance(value, list) and _structs(items[0]):
        found = [_readable_item(item, _structs(items[0]), name, leave_out) for item in value]
        return [item for item in found if item is not None]
    leave_out(name)
    return _UNREADABLE


def _readable_values(values: Mapping[Any, Any], kind: Any, name: str, leave_out: LeaveOut) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        try:
            found |= msgspec.convert({key: value}, kind)
        except msgspec.ValidationError:
            leave_out(f"a value in {name}")
    return found


def _readable_item(value: Any, structs: Mapping[Any, Any], name: str, leave_out: LeaveOut) -> Any:
    """Return one of several files, media or nodes, or None if it cannot be read."""
    tag = value.get("type") if isinstance(value, dict) else None
    name = name if tag is None else f"{name} of type {tag!r}"
    known = isinstance(value, dict) and isinstance(tag, (str, int, NoneType)) and tag in structs
    found = _readable_struct(value, structs[tag], f"{name}: ", leave_out) if known else None
    if found is None:
        leave_out(f"an item in {name}" if tag is None else name)
    return found


def _structs(kind: Any) -> dict[Any, Any]:
    """Return the structs of a type, by their tags; none if it is not made of structs."""
    found = get_args(kind) or (kind,)
    return {each.__struct_config__.tag: each for each in found if hasattr(each, "__struct_config__")}
