from ..testing import host


def __getattr__(name):
    # `id`, `route`, ..: as the host has it.
    if not hasattr(host, name):
        raise AttributeError(name)
    return lambda: getattr(host, name)


def note(key):
    return host.notes.get(key)


def set_note(key, value):
    host.notes[key] = value
