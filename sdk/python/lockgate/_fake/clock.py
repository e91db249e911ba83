from ..testing import host


def now():
    return host.now


def monotonic():
    return host.monotonic
