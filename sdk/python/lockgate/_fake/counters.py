from ..testing import host


def add(name, delta):
    return set(name, get(name) + delta)


def get(name):
    return host.counters.get(name, 0)


def set(name, value):
    before = get(name)
    host.counters[name] = value
    return before
