"""Fields of a message: `of` is what the host calls them."""

import re

from ..testing import host, refuse


def header(of, name):
    return next((value for known, value in getattr(host, of) if known.lower() == name.lower()), None)


def header_bytes(of, name):
    return [value.encode() for known, value in getattr(host, of) if known.lower() == name.lower()]


def headers(of):
    return [(name.lower(), value.encode()) for name, value in getattr(host, of)]


def set_header(of, name, value):
    check(name, value)
    setattr(host, of, without(of, name) + [(name.lower(), value)])


def append_header(of, name, value):
    check(name, value)
    getattr(host, of).append((name.lower(), value))


def remove_header(of, name):
    setattr(host, of, without(of, name))


def without(of, name):
    return [field for field in getattr(host, of) if field[0].lower() != name.lower()]


def check(name, value):
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        refuse("invalid-name")
    if re.search("[\r\n\0]", value):
        refuse("invalid-value")
