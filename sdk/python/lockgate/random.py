"""Random numbers from the host's cryptographically secure generator."""

from ._checks import whole
from ._host import imported

_host = imported("random")


def randbytes(length: int) -> bytes:
    """So many random bytes, at most 65536."""
    return _host.bytes(whole("the length", length))


def number() -> int:
    """A random number from 0 to 2^64 - 1."""
    return _host.number()
