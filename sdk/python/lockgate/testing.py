"""A host of paper for unit tests: says what imports answer, and holds what the plugin has done.

    from lockgate import testing

    host = testing.reset(path="/shop")
    plugin = testing.configured(MyPlugin, {"message": "hello"})
    plugin.on_request()
    assert host.response_headers == [("x-message", "hello")]
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ._hooks import configured as configured  # For tests to make a plugin as the host does.
from ._types import HostError


@dataclass
class Host:
    """The host."""

    method: str = "GET"
    scheme: str = "http"
    host: str = "localhost"
    path: str = "/"
    query: str | None = None
    request_headers: list[tuple[str, str]] = field(default_factory=list)
    request_body: bytes | None = None
    status: int = 0
    made_by: str = "backend"
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    id: int = 1
    request_id: str = "test"
    route: str = "default"
    host_is_named: bool = False
    tenant: str | None = None
    client_address: str = "127.0.0.1"
    peer_address: str = "127.0.0.1"
    peer_port: int = 50000
    from_trusted_proxy: bool = False
    server_name: str | None = None
    client_certificate: Any = None
    backend: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    backends: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    now: int = 0
    monotonic: int = 0
    random: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    series: list[str] = field(default_factory=list)
    kv: dict[str, bytes] = field(default_factory=dict)
    # What calls are answered with: {"GET https://..": (200, [], b"..")}. What is not there is not granted.
    answers: dict[str, tuple[int, list[tuple[str, str]], bytes]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    responses: list[tuple[list[tuple[str, str]], bytes]] = field(default_factory=list)


host = Host()


def reset(**given: Any) -> Host:
    """Makes the host one of which only this is known."""
    fresh = Host(**given)
    for it in fields(Host):
        setattr(host, it.name, getattr(fresh, it.name))
    return host


def refuse(code: str) -> None:
    """What the host does where the contract has an error."""
    raise HostError(code)
