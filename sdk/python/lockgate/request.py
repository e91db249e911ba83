"""The request of the exchange in hand. It can be changed in `on_request` and `on_request_complete` only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._checks import data, text
from ._host import imported, told
from ._message import Fields

_host = imported("request")

headers = Fields(_host)


def method() -> str:
    """The method as it was sent."""
    return _host.method()


def scheme() -> str:
    """`http` or `https`, as the client's connection was made."""
    return _host.scheme()


def host() -> str:
    """The authority, with its port if the client sent one."""
    return _host.host()


def path() -> str:
    """The path without the query."""
    return _host.path()


def query() -> str | None:
    """What follows the first question mark, if there is one."""
    return _host.query()


def set_path(path: str) -> None:
    """Replaces the path that the backend sees."""
    told(lambda: _host.set_path(text("the path", path)))


def set_query(query: str | None) -> None:
    """Replaces the query, or removes it."""
    told(lambda: _host.set_query(None if query is None else text("the query", query)))


def set_body(body: str | bytes) -> None:
    """Replaces the whole body. Only in `on_request_complete`."""
    told(lambda: _host.set_body(data("the body", body)))


if not TYPE_CHECKING:
    # What is only handed on is the host's own function: one in between costs a sixth of a call.
    method, scheme, host, path, query = _host.method, _host.scheme, _host.host, _host.path, _host.query
