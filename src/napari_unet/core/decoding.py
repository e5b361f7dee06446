"""JSON to frozen dataclasses: values of the annotated types, or a ValueError."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints


def decode_fields(value: Any, hints: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the fields of a JSON object, which has to have just these.

    Parameters
    ----------
    value
        What JSON has given.
    hints
        Type of each field: a dataclass, tuple, mapping, optional, literal or plain type.
    name
        Of the object, for messages.

    Raises
    ------
    ValueError
        Where it is no such object, or a field has another type.

    Examples
    --------
    >>> decode_fields({"shape": [4, 5]}, {"shape": tuple[int, ...]}, "plan")
    {'shape': (4, 5)}
    >>> decode_fields({"shape": [4, None]}, {"shape": tuple[int, ...]}, "plan")
    Traceback (most recent call last):
    ValueError: its shape is not what it should be
    """
    if not isinstance(value, dict) or value.keys() != hints.keys():
        raise ValueError(f"its {name} does not have the fields {sorted(hints)}")
    return {field: decode(value[field], hint, field) for field, hint in hints.items()}


def decode(value: Any, hint: Any, name: str) -> Any:
    """Turn JSON into a value of the annotated type; nothing is converted that is not of that type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return hint(**decode_fields(value, get_type_hints(hint), name))
    if type(None) in arguments:
        return None if value is None else decode(value, arguments[0], name)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(decode(item, arguments[0], name) for item in value)
    if origin is Mapping and isinstance(value, dict):
        return value
    expected = type(arguments[0]) if origin is Literal else hint
    exact = type(value) is expected or (expected is float and _is_float(value))
    if exact and (origin is not Literal or value in arguments):
        return value
    raise ValueError(f"its {name} is not what it should be")


def _is_float(value: Any) -> bool:
    """Whether an integer can stand for a float; True is no 1."""
    try:
        return type(value) is int and float(value) == value
    except OverflowError:
        return False
