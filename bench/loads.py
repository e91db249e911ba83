"""What proxies are asked for, and how."""

import pathlib
import re
import subprocess

import kit

SECURE = "X-Forwarded-Proto: https"


class Load:
    """One kind of load: `wrk`'s, `h2load`'s if it is HTTP/2, or `openssl s_time`'s if sessions are resumed. Of several paths, each
    request is for the next. A slice is how many seconds it goes on at a time."""

    def __init__(self, what, path="/", connections=64, tls=False, h2=False, resumed=False, headers=(), body=0, paths=(), slice=1):
        self.what, self.path, self.connections, self.tls, self.h2, self.resumed = what, path, connections, tls, h2, resumed
        self.headers = [SECURE, *headers]
        self.body, self.paths, self.slice = body, paths, slice

    def put(self, folder, port, seconds, core):
        """Loads a server and says what came of it."""
        if self.resumed:
            return self.resume(port, seconds, core)
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}{self.path}"
        headers = [word for header in self.headers for word in ("-H", header)]
        if self.h2:
            command = ["h2load", "-t1", f"-c{self.connections}", "-m100", f"-D{seconds}", *headers, url]
            out = self.run(command, seconds, core)
            counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
            done, *bad = map(int, counts.groups())
            wrong = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
            return {"requests": done, "errors": sum(bad) + sum(map(int, wrong.groups())), "rate": done / seconds}
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "10s", *headers]
        if self.body or self.paths:
            command += ["-s", str(self.script(folder))]
        out = self.run([*command, url], seconds, core)
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        return {
            "requests": int(re.search(r"(\d+) requests in", out)[1]),
            "errors": (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0),
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
        }

    def script(self, folder):
        """What tells `wrk` of a body, or of several paths."""
        if self.body:
            path, text = f"post-{self.body}.lua", f'wrk.method = "POST"\nwrk.body = string.rep("x", {self.body})\n'
        else:
            path, text = f"paths-{len(self.paths)}.lua", PATHS.replace("LIST", ", ".join(f'"{path}"' for path in self.paths))
        path = pathlib.Path(folder) / path
        path.write_text(text)
        return path

    def resume(self, port, seconds, core):
        """One connection after the other from each of some clients, each with the session of the one before it."""
        command = ["taskset", "-c", str(core), "openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-reuse", "-tls1_3",
                   "-time", str(seconds), "-www", self.path]
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(self.connections)]
        done = full = 0
        for client in clients:
            out, _ = client.communicate(timeout=seconds + 60)
            count = re.search(r"(\d+) connections in \d+ real seconds", out)
            if client.returncode or not count:
                kit.fail(f"openssl s_time failed: {out[-500:]}")
            # It writes a letter for each: `r` for a session resumed, `t` for a full handshake.
            handshakes = re.search(r"^[rt*]+$", out, re.M)[0]
            done, full = done + int(count[1]), full + len(handshakes) - handshakes.count("r")
        return {"requests": done, "errors": full, "rate": done / seconds}

    @staticmethod
    def run(command, seconds, core):
        command = ["taskset", "-c", str(core), *command]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout


# For `wrk`: each request is for the next of these paths.
PATHS = """\
local requests, place = {}, 0
init = function()
  for _, path in ipairs({ LIST }) do requests[#requests + 1] = wrk.format("GET", path) end
end
request = function()
  place = place % #requests + 1
  return requests[place]
end
"""

LOADS = {
    "small": Load("HTTP/1.1 keep-alive, 20 bytes"),
    "10k": Load("HTTP/1.1 keep-alive, 10 KiB", "/10k"),
    "1m": Load("HTTP/1.1 keep-alive, 1 MiB", "/1m", connections=8),
    "post": Load("HTTP/1.1 keep-alive, POST of 10 KiB", body=10 << 10),
    "connect": Load("a connection for each request", headers=["Connection: close"]),
    "tls": Load("TLS 1.3, keep-alive, 20 bytes", tls=True),
    "handshake": Load("a full TLS 1.3 handshake (ECDSA) for each request", tls=True, headers=["Connection: close"]),
    "resumed": Load("a resumed TLS 1.3 handshake for each request", connections=4, tls=True, resumed=True),
    "h2": Load("HTTP/2, 4 connections of 100 streams, 20 bytes", connections=4, h2=True),
}


def certificate(program, folder):
    """A certificate of Lockgate's own making, with an ECDSA key: the two files."""
    folder = pathlib.Path(folder) / "certificate"
    if not folder.exists():
        subprocess.run([program, "certificate", "--host", "127.0.0.1", "--out", folder], check=True, capture_output=True)
    return [next(folder.glob(f"*.{end}")) for end in ("crt", "key")]


STATIC = """\
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ return 200 "Hello from server {number}!"; }}
        location /10k {{ root {folder}/files; }}
        location /1m {{ root {folder}/files; }}
        client_body_buffer_size 64k;
    }}
"""


def backend(folder, number, port, core):
    """A backend that has something small, and two files."""
    files = pathlib.Path(folder) / "files"
    files.mkdir(exist_ok=True)
    for name, size in (("10k", 10 << 10), ("1m", 1 << 20)):
        (files / name).write_bytes(b"0123456789abcdef" * (size // 16))
    return kit.nginx(folder, f"backend-{number}", STATIC.format(port=port, number=number, folder=folder), core)
