"""The plugin's own metrics, at `/metrics` as `lockgate_plugin_NAME`. Open a series once, in `__init__`."""

from __future__ import annotations

from ._checks import number, text, whole
from ._host import imported

_host = imported("metrics")


def _series(name: str, labels: dict[str, str]) -> tuple[str, list[tuple[str, str]]]:
    return text("the name of a metric", name), [(label, str(value)) for label, value in labels.items()]


class Counter:
    """A number that only grows."""

    def __init__(self, name: str, **labels: str):
        self._series = _host.counter(*_series(name, labels))

    def add(self, by: int = 1) -> None:
        """Adds to it."""
        _host.add(self._series, whole("what is added", by))


class Gauge:
    """A number that goes up and down."""

    def __init__(self, name: str, **labels: str):
        self._series = _host.gauge(*_series(name, labels))

    def set(self, value: float) -> None:
        """Sets it."""
        _host.set(self._series, number("the value", value))


class Histogram:
    """A distribution, with these upper bounds of its buckets."""

    def __init__(self, name: str, bounds: list[float], **labels: str):
        self._series = _host.histogram(*_series(name, labels), [number("a bound", bound) for bound in bounds])

    def observe(self, value: float) -> None:
        """Counts an observation."""
        _host.observe(self._series, number("the value", value))
