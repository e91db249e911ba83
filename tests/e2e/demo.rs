//! `lockgate demo`, as a newcomer runs it.

use std::net::TcpListener;
use std::process::Stdio;

use lockgate_tests::output::Output;
use lockgate_tests::{binary, command, run, within};
use tokio::process::{Child, Command};

struct Demo {
    child: Child,
    out: Output,
    log: Output,
}

fn demo() -> Demo {
    let mut command = Command::new(binary::lockgate());
    command.args(["demo", "--http", "0", "--https", "0"]).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, log) = (Output::default(), Output::default());
    out.collect(child.stdout.take().unwrap());
    log.collect(child.stderr.take().unwrap());
    Demo { child, out, log }
}

impl Demo {
    /// The commands that it says to try, once it listens.
    async fn commands(&self) -> Vec<String> {
        for _ in 0..2 {
            self.log.line("listening").await;
        }
        self.out.line("curl").await;
        let lines = self.out.lines();
        lines
            .iter()
            .filter_map(|line| line.find("curl ").map(|at| line[at..].split("  #").next().unwrap().to_owned()))
            .collect()
    }

    async fn ends_well(mut self) {
        command::signal(self.child.id().unwrap(), "INT").await;
        let status = within("the demo's end", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}: {:?}", self.log.lines());
    }
}

#[tokio::test]
async fn every_command_that_it_prints_works_and_each_request_is_shown() {
    let demo = demo();
    let commands = demo.commands().await;
    assert!(commands.len() >= 3, "{commands:?}");
    let mut hellos = 0;
    for command in &commands {
        let said = run("sh", ["-c", &format!("{command} --silent --show-error --max-time 10")]).await;
        assert_eq!(said.code, 0, "{command}: {said:?}");
        hellos += usize::from(said.out.contains("Hello from server "));
    }
    assert!(hellos >= 2, "{commands:?}");
    demo.out.line("server 1 ").await;
    demo.out.line("server 2 ").await;
    demo.log.line("Completed ").await;
    demo.ends_well().await;
}

#[tokio::test]
async fn a_busy_port_is_a_clear_sentence_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--http", "--https"] {
        let other = if flag == "--http" { "--https" } else { "--http" };
        let said = command::lockgate(["demo", flag, &port, other, "0"]).await;
        assert_ne!(said.code, 0);
        assert!(said.err.contains(&port) && said.err.contains(flag), "{said:?}");
        assert!(said.err.lines().count() <= 3 && !said.err.contains("panicked"), "{said:?}");
    }
}

#[tokio::test]
async fn help_has_examples_and_version_is_a_line() {
    let said = command::lockgate(["--help"]).await;
    assert_eq!(said.code, 0);
    for word in ["run", "check", "demo", "Examples", "lockgate demo"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    let said = command::lockgate(["--version"]).await;
    assert!(said.out.starts_with("lockgate 0.") && said.out.lines().count() == 1, "{said:?}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(command::lockgate(["completions", shell]).await.out.contains("lockgate"));
    }
    assert_eq!(command::lockgate(["nonsense"]).await.code, 2);
}

#[tokio::test]
async fn what_the_demo_prints_as_a_configuration_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let said = command::lockgate(["demo", "--print-config"]).await;
    let file = folder.path().join("lockgate.toml");
    std::fs::write(&file, said.out).unwrap();
    let certificates = folder.path().join("certs");
    std::fs::create_dir(&certificates).unwrap();
    let options = ["certificate", "--host", "localhost", "--help"];
    assert_eq!(command::lockgate(options).await.code, 0);
    let made = within(
        "a certificate",
        Command::new(binary::lockgate())
            .args(["certificate", "--host", "localhost"])
            .current_dir(folder.path())
            .output(),
    );
    assert!(made.await.unwrap().status.success());
    let said = command::lockgate(["check", file.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{said:?}");
}
