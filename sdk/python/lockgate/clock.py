"""The host's clock."""

from ._host import imported

_host = imported("clock")


def now() -> float:
    """Seconds since 1970. May jump."""
    return _host.now() / 1e9


def now_nanos() -> int:
    """Nanoseconds since 1970."""
    return _host.now()


def monotonic_nanos() -> int:
    """Nanoseconds since some moment in the past. Never goes back."""
    return _host.monotonic()
