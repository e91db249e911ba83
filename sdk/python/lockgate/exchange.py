"""What else is known about the exchange in hand."""

from __future__ import annotations

from ._checks import text
from ._host import imported
from ._types import Certificate

_host = imported("exchange")


def id() -> int:
    """Never 0, and never the same for two exchanges of this process."""
    return _host.id()


def request_id() -> str:
    """The value of `x-request-id` that the backend sees."""
    return _host.request_id()


def route() -> str:
    """The name of the route."""
    return _host.route()


def host_is_named() -> bool:
    """Whether the route was chosen because it names the request's host."""
    return _host.host_is_named()


def tenant() -> str | None:
    """The name of the tenant that the route is of."""
    return _host.tenant()


def client_address() -> str:
    """The client's IP address."""
    return _host.client_address()


def peer_address() -> str:
    """The IP address at the other end of the connection: the client's or a proxy's."""
    return _host.peer_address()


def peer_port() -> int:
    """The port there."""
    return _host.peer_port()


def from_trusted_proxy() -> bool:
    """Whether the peer is one of `trusted_proxies`."""
    return _host.from_trusted_proxy()


def server_name() -> str | None:
    """The name that the client asked for in its TLS handshake."""
    return _host.server_name()


def client_certificate() -> Certificate | None:
    """The certificate that the client has shown, if it was asked for one."""
    shown = _host.client_certificate()
    return None if shown is None else Certificate(**vars(shown))


def backend() -> str | None:
    """The address of the backend that answered, or was asked last."""
    return _host.backend()


def note(key: str) -> str | None:
    """What an earlier plugin, or this one, noted for this exchange."""
    return _host.note(text("the key of a note", key))


def set_note(key: str, value: str) -> None:
    """Leaves a note for later plugins and the access log."""
    _host.set_note(text("the key of a note", key), text("a note", value))
