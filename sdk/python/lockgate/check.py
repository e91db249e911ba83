"""Looks at a plugin on this machine: what `lockgate plugin build` must know before it makes a component.

Prints JSON: the methods of the plugin's class, with their places, and the modules of the SDK that the plugin imports."""

from __future__ import annotations

import importlib
import inspect
import json
import sys

from . import _host
from ._hooks import HOOKS, plugin_class

MODULES = ["request", "response", "trailers", "exchange", "backends", "log", "clock", "random", "counters", "metrics", "kv", "http"]


class _Far:
    """An interface of the host while the plugin is made: it can be named, and not asked."""

    def __init__(self, name: str, interface: object):
        self._name = name
        self._interface = interface

    def __getattr__(self, name: str) -> object:
        found = getattr(self._interface, name)
        if not inspect.isfunction(found):
            return found

        def far(*_: object, **__: object) -> None:
            raise RuntimeError(f"{self._name}.{name} asks the host, which is not there while plugin.py is imported: ask in a hook, or in __init__")

        return far


def main() -> None:
    """Looks at the module `plugin`."""
    if sys.version_info < (3, 10):
        sys.exit(f"plugins need Python 3.10 or newer, and this is {sys.version.split()[0]}: install another, or make .venv with it")
    imported = _host.imported
    _host.imported = lambda name: _Far(name, imported(name))
    module = importlib.import_module("plugin")
    try:
        plugin = plugin_class(module)
    except TypeError as error:
        sys.exit(str(error))
    methods = {}
    for name in dir(plugin):
        method = getattr(plugin, name)
        if name.startswith("__") or not inspect.isfunction(method):
            continue
        place = f"{inspect.getsourcefile(method)}:{method.__code__.co_firstlineno}"
        methods[name] = place
        if name in HOOKS:
            if inspect.iscoroutinefunction(method):
                sys.exit(f"{place}: hooks are plain functions: take `async` away from {name}, calls of the host wait by themselves")
            try:
                inspect.signature(method).bind(*[None] * (HOOKS[name] + 1))
            except TypeError:
                wanted = "no parameter" if HOOKS[name] == 0 else f"{HOOKS[name]} parameter{'s' * (HOOKS[name] > 1)}"
                sys.exit(f"{place}: {name}{inspect.signature(method)} must take self and {wanted} besides")
    used = [name for name in MODULES if f"lockgate.{name}" in sys.modules]
    print(json.dumps({"methods": methods, "modules": used}))


if __name__ == "__main__":
    main()
