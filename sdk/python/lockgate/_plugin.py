"""What a plugin is derived from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._types import Abort, Answer, Attempt, Connection, GiveUp, Hold, Pick, Refuse, Replace, Summary


class Plugin:
    """A plugin. Define the hooks that you have: one that is not defined is not called.

    Where the class has a dataclass `Config`, its `__init__` is given one of those, made of the configuration of this use of the
    plugin, otherwise a dict. What it raises is shown to the operator: begin with the key, `ValueError("share: must be ..")`.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    # For editors and type checkers; what is not defined in the plugin itself is not there when it runs.
    if TYPE_CHECKING:

        def on_request(self) -> Answer | Hold | None:
            """Sees each request before a backend is picked."""

        def on_request_complete(self, body: bytes) -> Answer | None:
            """Sees the whole body where `on_request` returned `hold(..)`."""

        def on_request_body(self, chunk: bytes, last: bool) -> Replace | Abort | None:
            """Sees each chunk on its way to the backend."""

        def pick_backend(self, count: int) -> int | None:
            """An index below `count`, or None to let the upstream decide."""

        def on_attempt_failed(self, failed: Attempt) -> Pick | GiveUp | None:
            """Hears of each attempt at a backend that has failed."""

        def on_connect(self, arriving: Connection) -> Refuse | None:
            """Sees each connection of the listeners that name the plugin."""

        def on_response(self) -> Answer | None:
            """Sees each response before any of it is sent."""

        def on_response_body(self, chunk: bytes, last: bool) -> Replace | Abort | None:
            """Sees each chunk on its way to the client."""

        def on_response_finish(self, summary: Summary) -> None:
            """Sees how each exchange went."""

        def on_tick(self) -> None:
            """Works in the background, at an interval."""

        def self_test(self) -> None:
            """Shows that it works before it is put into service. What it raises keeps it out."""

        def export_state(self) -> bytes:
            """What the version that takes its place should know."""

        def import_state(self, state: bytes) -> None:
            """What the version before it has exported."""
