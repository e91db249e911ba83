from functools import partial
from types import SimpleNamespace

from ..testing import host
from . import _fields

header, header_bytes, headers, set_header, append_header, remove_header = (
    partial(it, "response_headers")
    for it in (
        _fields.header, _fields.header_bytes, _fields.headers, _fields.set_header, _fields.append_header, _fields.remove_header,
    )
)


def status():
    return host.status


def made_by():
    return SimpleNamespace(name=host.made_by)


def set_status(status):
    host.status = status
