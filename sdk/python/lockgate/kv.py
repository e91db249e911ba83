"""Keys and values that outlast exchanges. Needs the grant `kv`. A time to live is in seconds; None is for ever."""

from __future__ import annotations

from ._checks import data, integer, text
from ._host import imported, told

_host = imported("kv")


def _millis(ttl: float | None) -> int | None:
    return None if ttl is None else max(round(ttl * 1000), 1)


def _key(key: str) -> str:
    return text("a key", key)


def _bytes(value: str | bytes) -> bytes:
    return data("a value", value)


def get(key: str) -> bytes | None:
    """The value, if there is one."""
    return told(lambda: _host.get(_key(key)))


def set(key: str, value: str | bytes, ttl: float | None = None) -> None:
    """Stores a value, whatever was there."""
    told(lambda: _host.set(_key(key), _bytes(value), _millis(ttl)))


def delete(key: str) -> bool:
    """Removes a key, and says whether it was there."""
    return told(lambda: _host.delete(_key(key)))


def compare_and_set(key: str, expected: str | bytes | None, value: str | bytes, ttl: float | None = None) -> bool:
    """Stores a value if what is there is `expected` (None: nothing), and says whether it did."""
    wanted = None if expected is None else _bytes(expected)
    return told(lambda: _host.compare_and_set(_key(key), wanted, _bytes(value), _millis(ttl)))


def increment(key: str, by: int = 1, ttl: float | None = None) -> int:
    """Adds to a whole number, and returns the sum. The time to live counts from the call that made the key."""
    return told(lambda: _host.increment(_key(key), integer("what is added", by), _millis(ttl)))
