"""What hooks are told, and what they decide."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._checks import data, text, whole


@dataclass
class Answer:
    """A response that the plugin gives."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


@dataclass
class Hold:
    """Waits for the whole body of the request, of so many bytes at most."""

    bytes: int


@dataclass
class Replace:
    """Puts other bytes, or none, in the place of a chunk."""

    chunk: bytes


@dataclass
class Abort:
    """Ends the exchange."""


@dataclass
class Pick:
    """Has the next attempt go to the backend of that index."""

    index: int


@dataclass
class GiveUp:
    """Makes no other attempt."""


@dataclass
class Refuse:
    """Closes a connection."""


@dataclass
class Attempt:
    """An attempt at a backend that has failed."""

    number: int
    backend: str
    reason: str
    status: int | None
    may_retry: bool


@dataclass
class Certificate:
    """The certificate that a client has shown."""

    subject: str
    names: list[str]
    fingerprint: str
    serial: str
    not_after: int


@dataclass
class Connection:
    """A connection that has just come, its TLS handshake over."""

    client_address: str
    client_port: int
    listener: str
    tls: bool
    server_name: str | None
    alpn: str | None
    http2: bool
    certificate: Certificate | None


@dataclass
class Summary:
    """How an exchange went. `method` is "GET", .. or "OTHER"; `end` is "complete", "client-gone", .."""

    method: str
    route: int
    status: int
    request_bytes: int
    response_bytes: int
    first_byte_nanos: int
    total_nanos: int
    attempts: int
    end: str


class HostError(Exception):
    """Why the host refused something. `code` is the case's name in the contract: "invalid-name", "not-granted", .."""

    def __init__(self, code: str, detail: str | None = None):
        super().__init__(code if detail is None else f"{code}: {detail}")
        self.code = code
        self.detail = detail


def answer(status: int, body: str | bytes = b"", headers: dict[str, str] | list[tuple[str, str]] | None = None) -> Answer:
    """A response. A text without a `content-type` gets `text/plain`."""
    given = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
    fields = [(text("the name of a field", name), text("the value of a field", value)) for name, value in given]
    if isinstance(body, str) and not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("content-type", "text/plain; charset=utf-8"))
    return Answer(whole("the status of an answer", status), fields, data("the body of an answer", body))


def hold(bytes: int) -> Hold:
    """Waits for the whole body of the request. Needs an `on_request_complete`."""
    return Hold(whole("what is held", bytes))


def replace(chunk: str | bytes) -> Replace:
    """Puts something else, or nothing, in the place of a chunk."""
    return Replace(data("a chunk", chunk))


def abort() -> Abort:
    """Ends the exchange."""
    return Abort()


def pick(index: int) -> Pick:
    """Has the next attempt go to the backend of that index."""
    return Pick(whole("the index of a backend", index))


def give_up() -> GiveUp:
    """Makes no other attempt."""
    return GiveUp()


def refuse() -> Refuse:
    """Closes a connection."""
    return Refuse()
