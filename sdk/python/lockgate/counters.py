"""Numbers that all workers share. `add` and `set` return the value before."""

from ._checks import text, whole
from ._host import imported

_host = imported("counters")


def add(name: str, delta: int) -> int:
    """Adds to a counter."""
    return _host.add(text("the name of a counter", name), whole("what is added to a counter", delta))


def get(name: str) -> int:
    """A counter's value."""
    return _host.get(text("the name of a counter", name))


def set(name: str, value: int) -> int:
    """Sets a counter."""
    return _host.set(text("the name of a counter", name), whole("the value of a counter", value))
