"""HTTP requests of the plugin's own. Needs the grant `http`."""

from __future__ import annotations

import json as _json
from typing import Any

from ._checks import data, text, whole
from ._host import imported, told

_host = imported("http_client")


class Response:
    """The response to a request of the plugin's own."""

    def __init__(self, head: Any):
        self.status: int = head.status
        self._id = head.id

    def header(self, name: str) -> str | None:
        """The first field of that name."""
        return _host.header(self._id, text("the name of a field", name))

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All fields in order, names in lower case."""
        return _host.headers(self._id)

    def read(self, max: int) -> bytes:
        """The next bytes of the body, none at its end."""
        return told(lambda: _host.read(self._id, whole("max", max)))

    def content(self, max: int = 1 << 20) -> bytes:
        """The rest of the body, if it is at most `max` bytes."""
        return told(lambda: _host.read_all(self._id, whole("max", max)))

    def json(self, max: int = 1 << 20) -> Any:
        """The rest of the body, which is JSON."""
        return _json.loads(self.content(max))

    def close(self) -> None:
        """Gives up the rest of the body."""
        _host.close(self._id)


def fetch(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str | bytes = b"",
    timeout: float | None = None,
) -> Response:
    """Sends a request and waits for the head of its response, whatever its status. The timeout is in seconds."""
    content = data("the body", body)
    fields = [(text("the name of a field", name), text("the value of a field", value)) for name, value in (headers or {}).items()]
    millis = None if timeout is None else round(timeout * 1000)
    return Response(told(lambda: _host.send(_host.Request(text("the method", method), text("the URL", url), fields, content, millis))))
