"""Numbers that all workers share. `add` and `set` return the value before."""

from ._host import imported

_host = imported("counters")


def add(name: str, delta: int) -> int:
    """Adds to a counter."""
    return _host.add(name, delta)


def get(name: str) -> int:
    """A counter's value."""
    return _host.get(name)


def set(name: str, value: int) -> int:
    """Sets a counter."""
    return _host.set(name, value)
