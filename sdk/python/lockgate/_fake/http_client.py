from collections import namedtuple

from ..testing import host, refuse

Request = namedtuple("Request", "method url headers body timeout_millis")
Response = namedtuple("Response", "status headers body")


def send(request):
    call = f"{request.method} {request.url}"
    host.calls.append(call)
    if call not in host.answers:
        refuse("not-granted")
    status, headers, body = host.answers[call]
    host.bodies.append(body)
    return Response(status, headers, len(host.bodies) - 1)


def read(body, max):
    chunk, host.bodies[body] = host.bodies[body][:max], host.bodies[body][max:]
    return chunk


def read_all(body, max):
    if len(host.bodies[body]) > max:
        refuse("too-large")
    return read(body, max)


def close(body):
    host.bodies[body] = b""
