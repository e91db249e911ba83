"""The plugin's own metrics, at `/metrics` as `lockgate_plugin_NAME`. Open a series once, in `__init__`."""

from __future__ import annotations

from ._host import imported

_host = imported("metrics")


class Counter:
    """A number that only grows."""

    def __init__(self, name: str, **labels: str):
        self._series = _host.counter(name, list(labels.items()))

    def add(self, by: int = 1) -> None:
        """Adds to it."""
        _host.add(self._series, by)


class Gauge:
    """A number that goes up and down."""

    def __init__(self, name: str, **labels: str):
        self._series = _host.gauge(name, list(labels.items()))

    def set(self, value: float) -> None:
        """Sets it."""
        _host.set(self._series, value)


class Histogram:
    """A distribution, with these upper bounds of its buckets."""

    def __init__(self, name: str, bounds: list[float], **labels: str):
        self._series = _host.histogram(name, list(labels.items()), bounds)

    def observe(self, value: float) -> None:
        """Counts an observation."""
        _host.observe(self._series, value)
