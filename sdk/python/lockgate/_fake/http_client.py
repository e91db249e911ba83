from collections import namedtuple

from ..testing import host, refuse

Request = namedtuple("Request", "method url headers body timeout_millis")
Response = namedtuple("Response", "status id")


def send(request):
    call = f"{request.method} {request.url}"
    host.calls.append(call)
    if call not in host.answers:
        refuse("not-granted")
    status, fields, body = host.answers[call]
    host.responses.append((fields, body))
    return Response(status, len(host.responses) - 1)


def header(response, name):
    return next((value for known, value in headers(response) if known == name.lower()), None)


def headers(response):
    return list(host.responses[response][0])


def read(response, max):
    fields, body = host.responses[response]
    host.responses[response] = (fields, body[max:])
    return body[:max]


def read_all(response, max):
    if len(host.responses[response][1]) > max:
        refuse("too-large")
    return read(response, max)


def close(response):
    host.responses[response] = (host.responses[response][0], b"")
