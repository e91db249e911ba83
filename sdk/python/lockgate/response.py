"""The response of the exchange in hand, to be read from `on_response` on. Edits of its fields that are made earlier wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._checks import whole
from ._host import imported, told
from ._message import Fields

_host = imported("response")

headers = Fields(_host)


def status() -> int:
    """The status; in `on_response_finish` 0 when there was no response."""
    return _host.status()


def made_by() -> str:
    """"backend", "plugin", "route" or "host"."""
    return _host.made_by().name.lower()


def set_status(status: int) -> None:
    """Replaces the status. Only in `on_response`."""
    told(lambda: _host.set_status(whole("the status", status)))


if not TYPE_CHECKING:
    # As in request.py.
    status = _host.status
