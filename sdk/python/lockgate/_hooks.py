"""Finds a plugin's class, makes it, and says what is wrong with either."""

from __future__ import annotations

import dataclasses
import inspect
from types import ModuleType
from typing import Any, get_type_hints

from ._plugin import Plugin

# Each hook, with how many parameters it has besides `self`.
HOOKS = {
    "self_test": 0, "export_state": 0, "import_state": 1, "on_tick": 0, "on_connect": 1, "on_request": 0,
    "on_request_complete": 1, "on_request_body": 2, "pick_backend": 1, "on_attempt_failed": 1, "on_response": 0,
    "on_response_body": 2, "on_response_finish": 1,
}


def plugin_class(module: ModuleType) -> type[Plugin]:
    """The one class of a module that is derived from `Plugin`."""
    found = [
        it for it in vars(module).values()
        if inspect.isclass(it) and issubclass(it, Plugin) and it is not Plugin and it.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(it.__name__ for it in found) or "none"
        raise TypeError(f"{module.__name__}.py must have one class derived from lockgate.Plugin, and has {names}")
    return found[0]


def configured(plugin: type[Plugin], given: dict[str, Any]) -> Plugin:
    """A plugin with this configuration."""
    kind = getattr(plugin, "Config", None)
    if not dataclasses.is_dataclass(kind):
        return plugin(given)
    hints = get_type_hints(kind)
    fields = {it.name: it for it in dataclasses.fields(kind)}
    for key, value in given.items():
        if key not in fields:
            raise ValueError(f"{key}: is not a key that the plugin knows")
        wanted = hints[key]
        # Only what can be said for sure: that 1 is a number with a fraction, too, is meant.
        if wanted in WORDS and not (type(value) is wanted or (wanted is float and type(value) is int)):
            raise ValueError(f"{key}: must be {WORDS[wanted]}")
    for name, it in fields.items():
        if name not in given and it.default is dataclasses.MISSING and it.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name}: must be there")
    return plugin(kind(**given))


WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}
