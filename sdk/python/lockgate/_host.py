"""The host: that of the contract where the plugin runs, one of paper (`lockgate.testing`) where it is tested."""

from __future__ import annotations

import importlib
from typing import Any, Callable

from ._types import HostError


def imported(name: str) -> Any:
    """The interface of that name."""
    try:
        return importlib.import_module(f"wit_world.imports.{name}")
    except ImportError:
        return importlib.import_module(f"lockgate._fake.{name}")


def told(call: Callable[[], Any]) -> Any:
    """What a call returns; where the contract has an error, a `HostError`."""
    try:
        return call()
    except Exception as error:
        raise refused(error) from None


def refused(error: Exception) -> Exception:
    """What the host has raised as a `HostError`; anything else as it is."""
    # `componentize_py_types.Err`, which is there only where the plugin runs.
    case = getattr(error, "value", None)
    if case is None or isinstance(error, HostError):
        return error
    name = type(case).__name__.rsplit("_", 1)[-1]
    code = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
    return HostError(code, getattr(case, "value", None))
