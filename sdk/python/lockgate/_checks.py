"""What arguments must be: those of another kind than the contract's would end the instance without a word."""

from __future__ import annotations

from typing import Any


def text(what: str, value: Any) -> str:
    """A text."""
    return value if isinstance(value, str) else _wrong(what, "a text", value)


def integer(what: str, value: Any) -> int:
    """A whole number."""
    return value if isinstance(value, int) else _wrong(what, "a whole number", value)


def whole(what: str, value: Any) -> int:
    """A whole number from 0 on."""
    return value if isinstance(value, int) and value >= 0 else _wrong(what, "a whole number from 0 on", value)


def number(what: str, value: Any) -> float:
    """A number."""
    return float(value) if isinstance(value, (int, float)) else _wrong(what, "a number", value)


def data(what: str, value: Any) -> bytes:
    """The bytes of what may be either."""
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else _wrong(what, "a text or bytes", value)


def _wrong(what: str, wanted: str, value: Any) -> Any:
    raise TypeError(f"{what} must be {wanted}, and is {value!r}")
