"""The host's log."""

from __future__ import annotations

from ._host import imported

_host = imported("log")


def error(message: object) -> None:
    """Writes a line."""
    _host.log(_host.Level.ERROR, str(message))


def warn(message: object) -> None:
    """Writes a line."""
    _host.log(_host.Level.WARN, str(message))


def info(message: object) -> None:
    """Writes a line."""
    _host.log(_host.Level.INFO, str(message))


def debug(message: object) -> None:
    """Writes a line, if anybody wants to read it."""
    if _host.enabled(_host.Level.DEBUG):
        _host.log(_host.Level.DEBUG, str(message))
