"""For plugins of Lockgate, written in Python.

A plugin is a module `plugin` with one class derived from `Plugin`, whose methods are its hooks:

    from lockgate import Plugin, answer, request

    class Teapot(Plugin):
        def on_request(self):
            if request.path() == "/coffee":
                return answer(418, "I am a teapot\\n")

`Plugin` lists all hooks. What the host offers is in the modules `request`, `response`, `trailers`, `exchange`, `backends`, `log`,
`clock`, `random`, `counters`, `metrics`, `kv` and `http` of this package; what each means in full is in the contract,
`lockgate/wit`. A component asks only for those that the plugin imports.

A call that must wait returns when it has its answer; nobody else waits meanwhile. What a hook raises ends its exchange, as
`on_failure` of the configuration says, and is in the log with its traceback. There are no files, no sockets and no threads, and
Python's own `time` does not work, its `random` repeats itself: take `clock` and `random` of this package.
"""

from ._types import (
    Abort,
    Answer,
    Attempt,
    Certificate,
    Connection,
    GiveUp,
    Hold,
    HostError,
    Pick,
    Refuse,
    Replace,
    Summary,
    abort,
    answer,
    give_up,
    hold,
    pick,
    refuse,
    replace,
)
from ._plugin import Plugin

__all__ = [
    "Abort", "Answer", "Attempt", "Certificate", "Connection", "GiveUp", "Hold", "HostError", "Pick", "Plugin", "Refuse",
    "Replace", "Summary", "abort", "answer", "give_up", "hold", "pick", "refuse", "replace",
]
