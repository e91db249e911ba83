"""Between the contract and a plugin: `lockgate plugin build` writes a module that uses this.

Each class is an interface that the contract exports. What a hook raises is logged with its traceback, which otherwise nobody
would see."""

from __future__ import annotations

import builtins
import importlib.machinery
import io
import json
import os
import sys
import time
from typing import Any, Callable

import componentize_py_types
from componentize_py_types import Err

from . import log
from ._hooks import configured, plugin_class
from ._types import Abort, Answer, Attempt, Certificate, Connection, GiveUp, Hold, Pick, Refuse, Replace, Summary

_class = plugin_class(importlib.import_module("plugin"))
_plugin: Any = None

try:
    types = importlib.import_module("wit_world.imports.types")
except ImportError:
    # No hook of this plugin has a type of its own.
    types = None


class Ok(StopIteration):
    """What a function of the host has returned: an object with a `value` whose making runs no Python."""


# The class that is there takes a fifth of each call that can be refused. The runtime looks it up when this module is there.
componentize_py_types.Ok = Ok


def _guarded(name: str, *arguments: Any) -> Any:
    try:
        return getattr(_plugin, name)(*arguments)
    except BaseException as error:
        _tell(name, error)
        raise


def _tell(name: str, error: BaseException) -> None:
    _tell_all(f"{name} raised {_story(error)}")


def _tell_all(why: object) -> None:
    log.error(why)
    # The runtime writes it there again, before it ends the instance.
    sys.stderr = None


def _story(error: BaseException) -> str:
    """An error with the lines that led to it, but for those of the SDK."""
    return "\n".join([f"{type(error).__name__}: {error}", *(f"  {place}" for place in _places(error))])


def _places(error: BaseException) -> list[str]:
    """The author's lines that led to an error. Python's own `traceback` would read the sources, and there are no files."""
    places: list[str] = []
    times = 1
    place = error.__traceback__
    while place is not None:
        code = place.tb_frame.f_code
        if "/lockgate/" not in code.co_filename:
            line = f"{code.co_filename.rsplit('/', 1)[-1]}:{place.tb_lineno}, in {code.co_name}"
            # A function that calls itself for ever: the log takes so many bytes only.
            times = times + 1 if places and places[-1].startswith(line) else 1
            places[len(places) - (times > 1) :] = [line if times == 1 else f"{line} ({times} times)"]
        place = place.tb_next
    return places


def _refusable(call: Callable[[], Any]) -> None:
    """What is raised here is the reason that the operator reads. Whatever is no `ValueError` is a mistake in the code."""
    try:
        call()
    except BaseException as error:
        places = _places(error)
        if isinstance(error, ValueError) or not places:
            raise Err(str(error) or type(error).__name__) from None
        raise Err(f"{type(error).__name__}: {error}, at {places[-1]}") from None


def _unexpected(name: str, returned: Any, wanted: str) -> TypeError:
    error = TypeError(f"{name} returned {returned!r}, and not {wanted} or None")
    _tell_all(error)
    return error


def _absent(module: Any, name: str, shown: str, instead: str) -> None:
    """Has a function say that it is not there, rather than end the instance without a word."""

    def absent(*_: Any, **__: Any) -> Any:
        raise OSError(f"{shown} is not there in a plugin: {instead}")

    setattr(module, name, absent)


# The plugin's modules have been imported, where it was built: there they could read files.
_FILES = "what it needs is in its configuration, or read when its modules are imported"
for _module in (builtins, io, os):
    _absent(_module, "open", "open", _FILES)
for _name in ("access", "chdir", "getcwd", "listdir", "lstat", "mkdir", "remove", "rename", "rmdir", "scandir", "stat", "unlink"):
    _absent(os, _name, f"os.{_name}", _FILES)
for _name in ("sleep", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"):
    _absent(time, _name, f"time.{_name}", "lockgate.clock tells the time, and what waits are calls of the host")
if "threading" in sys.modules:
    _absent(sys.modules["threading"].Thread, "start", "threading", "what a hook does, it does before it returns")
for _name in ("getaddrinfo", "socket"):
    if "socket" in sys.modules:
        _absent(sys.modules["socket"], _name, "socket", "lockgate.http asks others")


class _Late:
    """Finds no module: what is imported in a hook would be read from files."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        raise ImportError(f"{name} is not there in a plugin, if it was not imported at the top of plugin.py")


class _Lines(io.TextIOBase):
    """What is printed, for the log."""

    def __init__(self, tell: Callable[[object], None]):
        self._tell = tell
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)


def _move_in() -> None:
    """From where the plugin was built, with files and a terminal, to where it runs."""
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, _Late]
    sys.stdout, sys.stderr = _Lines(log.info), _Lines(log.error)


# What most calls return.
if types is not None:
    _PROCEED, _PASS = types.Verdict_Proceed(), types.BodyAction_Pass()


def _verdict(name: str, decided: Any) -> Any:
    match decided:
        case None:
            return _PROCEED
        case Answer(status, headers, body):
            return types.Verdict_Answer(types.Answer(status, headers, body))
        case Hold(bytes):
            return types.Verdict_Hold(bytes)
        case other:
            raise _unexpected(name, other, "answer(..), hold(..)")


def _action(name: str, decided: Any) -> Any:
    match decided:
        case None:
            return _PASS
        case Replace(chunk):
            return types.BodyAction_Replace(chunk)
        case Abort():
            return types.BodyAction_Abort()
        case other:
            raise _unexpected(name, other, "replace(..), abort()")


# How exchanges end, by the name of the case.
_ENDS = {it.name: it.name.lower().replace("_", "-") for it in getattr(types, "End", ())}


class Lifecycle:
    def configure(self, config: str) -> None:
        def make() -> None:
            global _plugin
            _move_in()
            _plugin = configured(_class, json.loads(config))

        _refusable(make)


class SelfTestHook:
    def self_test(self) -> None:
        _refusable(lambda: _guarded("self_test"))


class StateHook:
    def export_state(self) -> bytes:
        return _guarded("export_state")

    def import_state(self, state: bytes) -> None:
        _refusable(lambda: _guarded("import_state", state))


class TickHook:
    def on_tick(self) -> None:
        _guarded("on_tick")


class ConnectHook:
    def on_connect(self, arriving: Any) -> Any:
        told = vars(arriving) | {"certificate": arriving.certificate and Certificate(**vars(arriving.certificate))}
        match _guarded("on_connect", Connection(**told)):
            case None:
                return types.Admission.ACCEPT
            case Refuse():
                return types.Admission.REFUSE
            case other:
                raise _unexpected("on_connect", other, "refuse()")


# Those that each exchange has are written out: `_guarded` costs as much as a call of the host.
class RequestHook:
    def on_request(self) -> Any:
        try:
            decided = _plugin.on_request()
        except BaseException as error:
            _tell("on_request", error)
            raise
        return _PROCEED if decided is None else _verdict("on_request", decided)


class RequestCompleteHook:
    def on_request_complete(self, body: bytes) -> Any:
        return _verdict("on_request_complete", _guarded("on_request_complete", body))


class RequestBodyHook:
    def on_request_body(self, chunk: bytes, last: bool) -> Any:
        return _action("on_request_body", _guarded("on_request_body", chunk, last))


class PickBackendHook:
    def pick_backend(self, count: int) -> int | None:
        try:
            index = _plugin.pick_backend(count)
        except BaseException as error:
            _tell("pick_backend", error)
            raise
        if index is None or type(index) is int:
            return index
        raise _unexpected("pick_backend", index, "an index")


class AttemptFailedHook:
    def on_attempt_failed(self, failed: Any) -> Any:
        match _guarded("on_attempt_failed", Attempt(**vars(failed))):
            case None:
                return types.NextAttempt_Proceed()
            case Pick(index):
                return types.NextAttempt_Pick(index)
            case GiveUp():
                return types.NextAttempt_GiveUp()
            case other:
                raise _unexpected("on_attempt_failed", other, "pick(..), give_up()")


class ResponseHook:
    def on_response(self) -> Any:
        try:
            decided = _plugin.on_response()
        except BaseException as error:
            _tell("on_response", error)
            raise
        return _PROCEED if decided is None else _verdict("on_response", decided)


class ResponseBodyHook:
    def on_response_body(self, chunk: bytes, last: bool) -> Any:
        return _action("on_response_body", _guarded("on_response_body", chunk, last))


class ResponseFinishHook:
    def on_response_finish(self, summary: Any) -> None:
        # The object that the runtime has made, with words for its enums: to make another costs more than the call.
        summary.method = summary.method._name_
        summary.end = _ENDS[summary.end._name_]
        summary.__class__ = Summary
        try:
            _plugin.on_response_finish(summary)
        except BaseException as error:
            _tell("on_response_finish", error)
            raise
