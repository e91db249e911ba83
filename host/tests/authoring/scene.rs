//! A folder to make plugins in.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that goes with the test.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Replaces something in a file, which must be there.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{from:?} is not in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// Runs `lockgate` in the folder.
    pub(crate) fn lockgate(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(arguments).current_dir(self.folder.path()).env("RUST_BACKTRACE", "0");
        run(&mut command)
    }

    /// Makes a plugin, which must go well.
    pub(crate) fn new_plugin(&self, name: &str, language: &str, hooks: &str) {
        let hooks = if hooks.is_empty() { vec![] } else { vec!["--hooks", hooks] };
        let said = self.lockgate(&[&["plugin", "new", name, "--lang", language][..], &hooks].concat());
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains(&format!("lockgate plugin build {name}")), "{said:?}");
    }

    /// Runs the command that a plugin's README has for showing the SDK, which must say that.
    pub(crate) fn sdk_is_shown(&self, name: &str, wanted: &str) {
        let readme = self.read(&format!("{name}/README.md"));
        let (before, _) = readme.split_once("` shows it").unwrap();
        let (_, command) = before.rsplit_once('`').unwrap();
        let said = run(Command::new("sh").args(["-c", command]).current_dir(self.path(name)));
        assert!(said.code == 0 && said.out.contains(wanted), "{command}: {said:?}");
    }

    /// Builds a plugin, which must go well, and says what it is.
    pub(crate) fn build(&self, name: &str) -> serde_json::Value {
        let said = self.lockgate(&["plugin", "build", name]);
        assert_eq!(said.code, 0, "{}\n{}", said.err, said.out);
        let said = self.lockgate(&["plugin", "inspect", "--json", &format!("{name}/{name}.wasm")]);
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Has a plugin's contract be of another version, and what of its SDK names the version, with all else as it is.
    pub(crate) fn contract_becomes(&self, name: &str, from: &str, to: &str) {
        let wit = ["hooks", "imports", "outbound", "types", "world"].map(|file| format!("wit/{file}.wit"));
        let sdk = ["sdk/rust/src/bindings.rs", "sdk/rust/wit/hooks.wit"].map(str::to_owned);
        for path in wit.iter().chain(&sdk).map(|file| format!("{name}/lockgate/{file}")) {
            if self.path(&path).exists() {
                self.write(&path, &self.read(&path).replace(&format!("@{from}"), &format!("@{to}")));
            }
        }
    }

    /// Holds that a plugin with a contract that this host does not have is told apart where it is built.
    pub(crate) fn newer_contract_is_told(&self, name: &str) {
        self.contract_becomes(name, "0.1.0", "0.2.0");
        let err = self.build_fails(name);
        let wanted = "needs hooks 0.2.0, this host offers 0.1 (it imports `lockgate:plugin/";
        assert!(err.contains(&format!("lockgate: {name}: {wanted}")), "{err}");
        assert!(err.ends_with(NEWER_CONTRACT), "{err}");
        self.contract_becomes(name, "0.2.0", "0.1.0");
    }

    /// What `build` says, and must, since it fails.
    pub(crate) fn build_fails(&self, name: &str) -> String {
        let said = self.lockgate(&["plugin", "build", name]);
        assert_eq!(said.code, 1, "{said:?}");
        said.err
    }

    /// Holds that the configuration that comes with a plugin is sound, which starts it, and that it passes its scenarios with
    /// each of these limits: with 1 ms it is called on the worker's stack, with more on one of its own.
    pub(crate) fn check(&self, name: &str, cpu: &[&str]) {
        let said = self.lockgate(&["check", &format!("{name}/lockgate.toml")]);
        assert_eq!(said.code, 0, "{}", said.err);
        let path = format!("{name}/{name}.scenario.toml");
        let text = self.read(&path);
        for cpu in cpu {
            let limits = format!("limits = {{ cpu = \"{cpu}\" }}\nconfig = ");
            self.write(&path, &text.replacen("config = ", &limits, 1));
            let said = self.lockgate(&["plugin", "test", &path]);
            assert_eq!(said.code, 0, "{cpu}: {}{}", said.err, said.out);
        }
        self.write(&path, &text);
    }
}

/// Whether a tool is there. What a machine lacks is left out, and said; in CI it is a failure.
pub(crate) fn has(tool: &str, language: &str) -> bool {
    let there = env::split_paths(&path()).any(|folder| folder.join(tool).is_file());
    assert!(there || env::var_os("LOCKGATE_ALL_LANGUAGES").is_none(), "plugins in {language} need `{tool}`");
    if !there {
        // Not by `println!`, which nobody sees of a test that passes.
        let _ = writeln!(std::io::stderr(), "left out: {language}, because there is no `{tool}` on this machine");
    }
    there
}

/// Has a command find the tools that `.ci/install` has put into the target folder.
pub(crate) fn with_tools(command: &mut Command) -> &mut Command {
    command.env("PATH", path())
}

fn path() -> std::ffi::OsString {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/languages/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(tools).chain(env::split_paths(&path))).unwrap()
}

/// Cargo as an author would call it: what this test's own cargo has put into the environment is not meant for it. All
/// projects share a folder for what they are made of.
pub(crate) fn authors_cargo(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&name.as_str())
            || name == "RUSTFLAGS"
        {
            command.env_remove(name);
        }
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors");
    with_tools(command).env("CARGO_TARGET_DIR", target)
}

fn run(command: &mut Command) -> Said {
    let output = authors_cargo(command).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// What to do about a contract that is newer than this host's.
pub(crate) const NEWER_CONTRACT: &str = "the project's contract (`lockgate/wit`) is 0.2.0, this lockgate's is 0.1.0: \
     build with a lockgate that has 0.2.0, or make a project with this one and move the code there\n";

/// The texts of a JSON list.
pub(crate) fn texts(json: &serde_json::Value) -> Vec<&str> {
    json.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}
