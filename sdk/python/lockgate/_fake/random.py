from ..testing import host


def bytes(length):
    return b"\0" * length


def number():
    return host.random
