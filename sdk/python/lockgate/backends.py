"""The backends that `pick_backend` and `on_attempt_failed` can choose from."""

from __future__ import annotations

from dataclasses import dataclass

from ._checks import whole
from ._host import imported

_host = imported("backends")


@dataclass
class Backend:
    """A backend as it is now."""

    address: str
    weight: int
    in_flight: int
    latency_nanos: int
    healthy: bool


def count() -> int:
    """How many there are."""
    return _host.count()


def get(index: int) -> Backend:
    """The one at that place."""
    return Backend(**vars(_host.get(whole("the index of a backend", index))))


def all() -> list[Backend]:
    """All of them, in order."""
    return [get(index) for index in range(count())]
