from functools import partial

from ..testing import host as _host
from . import _fields

header, header_bytes, headers, set_header, append_header, remove_header = (
    partial(it, "request_headers")
    for it in (
        _fields.header, _fields.header_bytes, _fields.headers, _fields.set_header, _fields.append_header, _fields.remove_header,
    )
)


def method():
    return _host.method


def scheme():
    return _host.scheme


def host():
    return _host.host


def path():
    return _host.path


def query():
    return _host.query


def set_path(path):
    _host.path = path


def set_query(query):
    _host.query = query


def set_body(body):
    _host.request_body = body
