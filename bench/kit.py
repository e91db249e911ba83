"""What the benchmarks share: building, starting, stopping, and reading what the system knows of a process.

Needs Linux, Python 3.9 or later and nothing beside its standard library. Everything listens on loopback, on ports of the
system's choice; only processes that were started here are stopped.
"""

import contextlib
import http.client
import os
import pathlib
import platform
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def fail(sentence):
    sys.exit(f"bench: {sentence}")


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            fail(f"{tool} is not installed; README.md says which Debian packages are needed")


def lockgate():
    """The release binary: LOCKGATE_BIN, or built now."""
    chosen = os.environ.get("LOCKGATE_BIN")
    if chosen:
        path = pathlib.Path(chosen).resolve()
        if not os.access(path, os.X_OK):
            fail(f"LOCKGATE_BIN: {path} is not a program")
        return path
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    return target() / "release" / "lockgate"


def target():
    """Where cargo puts what it builds."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A server that was started here. Stops with the `with` block that it is used in."""

    def __init__(self, command, core=None, cwd=None, env=None, log=None):
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        out = open(log, "ab") if log else subprocess.DEVNULL
        self.log = log
        self.started = time.monotonic()
        # `taskset` becomes the program, so the number is the program's.
        self.child = subprocess.Popen([str(word) for word in command], cwd=cwd, env=env, stdout=out, stderr=out)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(timeout=15)

    def wait_for_answer(self, port, path="/", headers=None, limit=60, pause=0.001, tls=False):
        """Asks until there is an answer with status 200, and says how long that took since the start, in seconds."""
        last = "no answer"
        while time.monotonic() - self.started < limit:
            if self.child.poll() is not None:
                break
            try:
                connection = connect(port, tls)
                connection.request("GET", path, headers=headers or {})
                status = connection.getresponse().status
                connection.close()
                if status == 200:
                    return time.monotonic() - self.started
                last = f"status {status}"
            except http.client.BadStatusLine:
                # It speaks HTTP/2 alone.
                return time.monotonic() - self.started
            except OSError as error:
                last = str(error)
            time.sleep(pause)
        said = pathlib.Path(self.log).read_text(errors="replace")[-2000:] if self.log else ""
        fail(f"a server did not answer on port {port}: {last}\n{said}")

    def cpu_seconds(self):
        """User and system time of the process, all its threads, and the children that it has now."""
        return sum(cpu_seconds(pid) for pid in family(self.pid))

    def memory(self):
        """Resident memory now and at its peak, in bytes."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return tuple(int(re.search(rf"^{name}:\s+(\d+) kB", status, re.M)[1]) * 1024 for name in ("VmRSS", "VmHWM"))

    def forget_peak(self):
        """Makes the peak what is resident now."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def connect(port, tls=False):
    """A connection to a server here, whatever its certificate says."""
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)


def family(pid):
    pids = [pid]
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pid):
    # The program's name stands in parentheses and may hold anything; user and system time are fields 14 and 15.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


NGINX = """\
{modules}
daemon off;
worker_processes {workers};
pid {folder}/{name}.pid;
error_log {folder}/{name}.log warn;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/{name}.body;
    proxy_temp_path {folder}/{name}.proxy;
    fastcgi_temp_path {folder}/{name}.fastcgi;
    uwsgi_temp_path {folder}/{name}.uwsgi;
    scgi_temp_path {folder}/{name}.scgi;
{http}
}}
"""


def nginx(folder, name, http, core, modules=(), workers=1):
    """nginx with that in its `http` block, and with modules that the system has for it."""
    path = pathlib.Path(folder) / f"{name}.conf"
    load = "\n".join(f"load_module /usr/lib/nginx/modules/{module}.so;" for module in modules)
    path.write_text(NGINX.format(folder=folder, name=name, http=http, modules=load, workers=workers))
    return Process(["nginx", "-p", folder, "-e", f"{folder}/{name}.log", "-c", path], core, log=f"{folder}/{name}.out")


def backend(folder, number, port, core):
    """A backend with a small answer."""
    http = f'    server {{ listen 127.0.0.1:{port} backlog=1024; return 200 "Hello from server {number}!"; }}'
    return nginx(folder, f"backend-{number}", http, core)


@contextlib.contextmanager
def backends(folder, count, core, backend=backend):
    """As many backends; their ports."""
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        for number, port in enumerate(ports, 1):
            stack.enter_context(backend(folder, number, port, core)).wait_for_answer(port)
        yield ports


def run_lockgate(program, folder, name, config, core=None, env=None):
    path = pathlib.Path(folder) / f"{name}.toml"
    path.write_text(config)
    return Process([program, "run", path], core, cwd=folder, env=env, log=f"{folder}/{name}.out")


def wrk(port, seconds, connections, core, headers=()):
    """Loads a server and says what came of it."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    for header in headers:
        command += ["-H", header]
    command.append(f"http://127.0.0.1:{port}/")
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    requests = int(re.search(r"(\d+) requests in", out)[1])
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return {
        "requests": requests,
        "errors": (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0),
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
    }


@contextlib.contextmanager
def scratch():
    folder = tempfile.mkdtemp(prefix="lockgate-bench-")
    # nginx's worker may be another user, and must reach its folders.
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spread(values, digits=2):
    """The median, with the least and the greatest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def machine():
    """What was measured on, in a line."""
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    model = cpu[1].strip() if cpu else platform.machine()
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    commit = (commit.stdout.strip() or "no commit") + (" and changes" if dirty else "")
    return f"{time.strftime('%Y-%m-%d')}, {commit}; {os.cpu_count()} x {model}, Linux {platform.release()}, nginx {version}"


def section(results, name, text):
    """Prints a section and puts it into the file of results, in place of an older one of that name."""
    print(text)
    if results is None:
        return
    path = pathlib.Path(results)
    head = "# Results\n\nWritten by the scripts beside this file; README.md says how.\n"
    old = path.read_text() if path.exists() else head
    sections = re.split(r"(?m)^(?=## )", old)
    new = f"## {name}\n\n{text.strip()}\n\n"
    for place, section in enumerate(sections):
        if section.startswith(f"## {name}\n"):
            sections[place] = new
            break
    else:
        sections[-1] = sections[-1].rstrip() + "\n\n"
        sections.append(new)
    path.write_text("".join(sections).rstrip() + "\n")
