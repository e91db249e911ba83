"""nginx and Lockgate as proxies in front of the same backends: what `run` measures, and others with it."""

import kit
from loads import LOADS, certificate

LOCKGATE = """\
[server]
workers = {workers}
trusted_proxies = ["127.0.0.1"]

[log]
access = "off"
level = "warn"

[[listener]]
address = "127.0.0.1:{port}"
{tls}
[limits]
exchanges_per_connection = 0

[upstream.app]
backends = ["http://127.0.0.1:{backends[0]}", "http://127.0.0.1:{backends[1]}"]
"""

BARE = """
[[route]]
upstream = "app"
"""

PLUGINS = """\
balance = { plugin = "rr" }

[plugin.rr]
bundled = "round-robin"

[plugin.profiler]
bundled = "profiler"

[plugin.https]
bundled = "https-enforcer"
config = { hosts = ["127.0.0.1"], trust = ["x-forwarded-proto"] }

[[route]]
plugins = ["profiler", "https"]
upstream = "app"
"""

NGINX = """\
    upstream app {{
        server 127.0.0.1:{backends[0]};
        server 127.0.0.1:{backends[1]};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} {tls} backlog=1024;
        {certificate}
{locations}
    }}
"""

LOCATION = """\
        location {path} {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
{fields}
        }}
"""

FIELDS = """\
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header Via "1.1 nginx";
"""

LOCKGATE_TLS = """\
[[listener.certificate]]
certificate = "{0}"
key = "{1}"
"""

# What stands in Debian's nginx.conf, and TLS 1.3 alone, as it is what both agree on.
NGINX_TLS = """\
ssl_certificate {0};
        ssl_certificate_key {1};
        ssl_protocols TLSv1.3;
        ssl_session_cache shared:all:10m;
"""

CASES = {
    "nginx": "nginx, bare",
    "nginx-fields": "nginx, setting the header fields that Lockgate sets",
    "lockgate": "Lockgate, no plugin",
    "lockgate-plugins": "Lockgate, three plugins in wasm",
}


def lockgate(port, backends, rest, tls="", workers=1):
    """A configuration of Lockgate for that; `rest` begins with what else is to be said of the upstream."""
    return LOCKGATE.format(port=port, backends=backends, tls=tls, workers=workers) + rest


def nginx(port, backends, tls="", certificate="", fields="", locations=("/",)):
    """The same for the `http` block of nginx."""
    places = "".join(LOCATION.format(path=path, fields=fields) for path in locations)
    return NGINX.format(port=port, backends=backends, tls=tls, certificate=certificate, locations=places)


def start(case, program, folder, port, backends, core, load=LOADS["small"], more=""):
    """The proxy of that case, ready for that load; `more` is for Lockgate's configuration."""
    files = certificate(program, folder) if load.tls else None
    if case.startswith("nginx"):
        words = " ".join(word for word, wanted in (("ssl", load.tls), ("http2", load.h2)) if wanted)
        lines = NGINX_TLS.format(*files) if files else ""
        http = nginx(port, backends, words, lines, FIELDS if case == "nginx-fields" else "")
        return kit.nginx(folder, case, http, core)
    rest = PLUGINS if case == "lockgate-plugins" else BARE
    tls = LOCKGATE_TLS.format(*files) if files else ""
    return kit.run_lockgate(program, folder, case, lockgate(port, backends, rest + more, tls), core)
