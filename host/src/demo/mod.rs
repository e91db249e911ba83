//! `lockgate demo`: Lockgate in front of two servers, with everything it needs made on the spot.

mod backend;
mod folder;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::{certificate, server};
use folder::Folder;

/// Where the demo listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// For HTTP; 0 lets the system choose.
    pub http: u16,
    /// For HTTPS; 0 lets the system choose.
    pub https: u16,
}

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be had.
    #[error("{}", sentence(*port, flag, cause))]
    Port {
        /// Which.
        port: u16,
        /// The option that chooses another.
        flag: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A backend did not start.
    #[error("cannot start the demo's backends")]
    Backend(#[source] io::Error),
    /// The server itself.
    #[error(transparent)]
    Server(#[from] server::Error),
}

/// Starts two backends, makes a certificate and a configuration, and serves it until it is told to stop.
///
/// # Errors
/// When a port is taken, or something else that it needs cannot be had.
pub fn run(ports: &Ports) -> Result<(), Error> {
    let [http, https, admin] = free_ports(ports)?;
    let mut backends = Vec::new();
    for number in 1..=2 {
        let address = backend::start(number, backend::print).map_err(Error::Backend)?;
        backends.push(address.to_string());
    }
    let folder = Folder::new().map_err(|cause| Error::Write { path: std::env::temp_dir(), cause })?;
    let pair = certificate::self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()], 30)?;
    let certificate = folder.write("localhost.crt", &pair.certificate)?;
    folder.write("localhost.key", &pair.key)?;
    let plan = Plan { http, https, admin, backends: &backends, certificates: "" };
    let config = folder.write("lockgate.toml", &plan.config())?;
    backend::print(&plan.manual(&certificate, &config));
    server::run(&config)?;
    Ok(())
}

/// The demo's configuration, to start from: with backends on ports 3000 and 3001, and a certificate in `certs`.
#[must_use]
pub fn sample(ports: &Ports) -> String {
    let backends = ["127.0.0.1:3000".to_owned(), "127.0.0.1:3001".to_owned()];
    Plan { http: ports.http, https: ports.https, admin: 9901, backends: &backends, certificates: "certs/" }.config()
}

/// What stands where in the demo.
struct Plan<'a> {
    http: u16,
    https: u16,
    admin: u16,
    backends: &'a [String],
    /// The certificate's folder, with a slash.
    certificates: &'a str,
}

impl Plan<'_> {
    fn config(&self) -> String {
        let Self { http, https, admin, certificates, .. } = self;
        let backends: Vec<_> = self.backends.iter().map(|backend| format!("\"http://{backend}\"")).collect();
        format!(
            r#"# HTTP and HTTPS in front of two servers, with the three bundled plugins.

[[listener]]
address = "127.0.0.1:{http}"

[[listener]]
address = "127.0.0.1:{https}"
[[listener.certificate]]
certificate = "{certificates}localhost.crt"
key = "{certificates}localhost.key"

[upstream.app]
backends = [{backends}]
balance = {{ plugin = "rr" }}

[plugin.rr]
bundled = "round-robin"

[plugin.profiler]
bundled = "profiler"

[plugin.https]
bundled = "https-enforcer"
config = {{ hosts = ["localhost", "127.0.0.1"], port = {https} }}

[[route]]
name = "app"
plugins = ["profiler"]
upstream = "app"

# Plain requests for what lies below are sent to HTTPS.
[[route]]
name = "secure"
path = "/secure"
plugins = ["profiler", "https"]
upstream = "app"

[admin]
address = "127.0.0.1:{admin}"
"#,
            backends = backends.join(", ")
        )
    }

    fn manual(&self, certificate: &Path, config: &Path) -> String {
        let Self { http, https, admin, .. } = self;
        let (certificate, config) = (certificate.display(), config.display());
        format!(
            r#"Lockgate stands in front of two servers. Each request is shown three times: by the server that answers it, by the
profiler, which is a plugin, and in the access log. Try in another terminal:

  # The servers take turns, as the plugin round-robin picks them.
  curl http://localhost:{http}/test1
  curl http://localhost:{http}/test2

  # A body is passed on.
  curl -H 'content-type: application/json' -d '{{"name":"Ada"}}' http://localhost:{http}/test3

  # HTTPS, with a certificate that was made a moment ago.
  curl --cacert {certificate} https://localhost:{https}/test4

  # The plugin https-enforcer sends plain requests for /secure to HTTPS.
  curl -i http://localhost:{http}/secure
  curl -L --cacert {certificate} http://localhost:{http}/secure

  # What runs, and what was counted.
  curl http://localhost:{admin}/status
  curl http://localhost:{admin}/metrics

The configuration is {config}: change it while this runs, and it is
taken up when you save it. Ctrl-C ends the demo.
"#
        )
    }
}

/// For HTTP, HTTPS and admin: the ports themselves if nobody has them, and some of the system's choice for 0.
fn free_ports(ports: &Ports) -> Result<[u16; 3], Error> {
    // Asked for alone: the workers' sockets share a port even with another Lockgate, which is not what is meant here.
    let listen = |port, flag| {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        listener.map_err(|cause| Error::Port { port, flag, cause })
    };
    // All are held until the last is found, so that none is found twice.
    let held = [listen(ports.http, "--http")?, listen(ports.https, "--https")?, listen(0, "--http")?];
    let mut found = [0; 3];
    for (found, listener) in found.iter_mut().zip(held) {
        let address = listener.local_addr();
        *found = address.map_err(|cause| Error::Port { port: 0, flag: "--http", cause })?.port();
    }
    Ok(found)
}

fn sentence(port: u16, flag: &str, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is in use; choose another one with {flag} PORT")
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} is not open to you; choose one above 1023 with {flag} PORT")
        }
        _ => format!("port {port} cannot be had ({cause}); choose another one with {flag} PORT"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config;

    const PORTS: Ports = Ports { http: 8080, https: 8443 };

    #[test]
    fn the_configuration_is_sound() {
        let source = config::Source { path: "lockgate.toml".into(), text: sample(&PORTS) };
        let config = config::parse(source).unwrap();
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.routes.len(), 2);
        assert_eq!(config.plugins.len(), 3);
        assert_eq!(config.plugins["https"].config["port"], 8443);
    }

    #[test]
    fn a_busy_port_is_told_with_the_option_that_helps() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let https = busy.local_addr().unwrap().port();
        let error = run(&Ports { http: 0, https }).unwrap_err();
        assert_eq!(error.to_string(), format!("port {https} is in use; choose another one with --https PORT"));
    }

    #[test]
    fn the_manual_names_what_was_made() {
        let plan = Plan { http: 1, https: 2, admin: 3, backends: &[], certificates: "" };
        let manual = plan.manual(Path::new("/x/localhost.crt"), Path::new("/x/lockgate.toml"));
        for line in [
            "  curl http://localhost:1/test1\n",
            "  curl -H 'content-type: application/json' -d '{\"name\":\"Ada\"}' http://localhost:1/test3\n",
            "  curl --cacert /x/localhost.crt https://localhost:2/test4\n",
            "  curl http://localhost:3/metrics\n",
        ] {
            assert!(manual.contains(line), "{line} in {manual}");
        }
    }
}
