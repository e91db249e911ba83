"""The fields behind the last byte of a body. They are there in the call for its last chunk only."""

from __future__ import annotations

from ._checks import text
from ._host import imported, told

_host = imported("trailers")


def get(name: str) -> str | None:
    """The first one of that name as text."""
    return _host.get(text("the name of a field", name))


def items() -> list[tuple[str, bytes]]:
    """All of them in order."""
    return _host.all()


def set(name: str, value: str) -> None:
    """Replaces all of that name by one."""
    told(lambda: _host.set(text("the name of a field", name), text("the value of a field", value)))


def remove(name: str) -> None:
    """Removes all of that name."""
    told(lambda: _host.remove(text("the name of a field", name)))
