"""The host's log."""

from __future__ import annotations

from typing import Literal

from ._host import imported

_host = imported("log")


def enabled(level: Literal["error", "warn", "info", "debug"]) -> bool:
    """Whether a line of that level would be written, so that it need not be built in vain."""
    if level not in ("error", "warn", "info", "debug"):
        raise ValueError(f"the level must be error, warn, info or debug, and is {level!r}")
    return _host.enabled(_host.Level[level.upper()])


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
