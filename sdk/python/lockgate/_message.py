"""What requests and responses have in common."""

from __future__ import annotations

from typing import Any, Iterator

from ._checks import text
from ._host import refused


class Fields:
    """Fields of a message. Names are compared without regard to case; what the host refuses raises a `HostError`."""

    def __init__(self, host: Any):
        self._host = host
        # Those that are called most, without a look into the module each time.
        self._header, self._set_header, self._append_header = host.header, host.set_header, host.append_header

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first field of that name, as text."""
        # Looked at here, since a function for each call would cost as much as the look.
        if type(name) is not str:
            text("the name of a field", name)
        value = self._header(name)
        return default if value is None else value

    def get_all(self, name: str) -> list[bytes]:
        """All of that name, in order, byte by byte."""
        return self._host.header_bytes(text("the name of a field", name))

    def items(self) -> list[tuple[str, bytes]]:
        """All fields in order, names in lower case. Ask for single ones where you can."""
        return self._host.headers()

    def append(self, name: str, value: str) -> None:
        """Adds a field, whether or not there is one of that name."""
        # Without `told`: a function for each call would cost as much as the call.
        if type(name) is not str or type(value) is not str:
            _field(name, value)
        try:
            self._append_header(name, value)
        except Exception as error:
            raise refused(error) from None

    def __contains__(self, name: str) -> bool:
        return self._header(text("the name of a field", name)) is not None

    def __getitem__(self, name: str) -> str:
        if type(name) is not str:
            text("the name of a field", name)
        value = self._header(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        if type(name) is not str or type(value) is not str:
            _field(name, value)
        try:
            self._set_header(name, value)
        except Exception as error:
            raise refused(error) from None

    def __delitem__(self, name: str) -> None:
        try:
            self._host.remove_header(text("the name of a field", name))
        except Exception as error:
            raise refused(error) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._host.headers())


def _field(name: Any, value: Any) -> None:
    text("the name of a field", name)
    text(f"the value of the field {name}", value)
