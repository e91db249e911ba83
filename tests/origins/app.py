"""Says in `x-seen` what Python's servers take for the request: method, target, length and hash (FNV-1a) of the body."""


def seen(method, target, body):
    value = 0xCBF29CE484222325
    for byte in [*body, 256]:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{method} {target} {len(body)} {value:x}"


def wsgi(environ, start_response):
    """For gunicorn."""
    body = environ["wsgi.input"].read()
    line = seen(environ["REQUEST_METHOD"], environ["RAW_URI"], body)
    start_response("200 OK", [("x-seen", line), ("content-length", "0")])
    return []


async def asgi(scope, receive, send):
    """For uvicorn."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    line = seen(scope["method"], target.decode("latin-1"), body)
    headers = [(b"x-seen", line.encode("latin-1")), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
