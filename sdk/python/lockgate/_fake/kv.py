from ..testing import host, refuse


def get(key):
    return host.kv.get(key)


def set(key, value, ttl_millis):
    host.kv[key] = value


def delete(key):
    return host.kv.pop(key, None) is not None


def compare_and_set(key, expected, value, ttl_millis):
    if host.kv.get(key) != expected:
        return False
    host.kv[key] = value
    return True


def increment(key, by, ttl_millis):
    try:
        number = int(host.kv.get(key, b"0")) + by
    except ValueError:
        refuse("not-a-number")
    host.kv[key] = str(number).encode()
    return number
