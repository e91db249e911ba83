//! `lockgate run --watch`: plugins that are made anew when their sources are saved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use lockgate_tests::{ProxyBuilder, binary, command, eventually, get, proxy, run, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use xtask::guests::component;

use crate::languages;

/// One that runs, and what it has said.
struct Watch {
    child: Child,
    heard: Receiver<String>,
    lines: Vec<String>,
}

impl Watch {
    fn begin(file: &Path) -> Self {
        let mut watch = Command::new(binary::lockgate());
        watch.args(["run", "--watch"]).arg(file).env("NO_COLOR", "1").env("PATH", languages::path());
        let mut child = watch.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, heard) = channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = say.send(line);
            }
        });
        Self { child, heard, lines: Vec::new() }
    }

    /// The next line with these words.
    async fn says(&mut self, words: &str) -> String {
        let mut found = None;
        eventually(words, || {
            self.lines.extend(self.heard.try_iter());
            found = self.lines.iter().position(|line| line.contains(words));
            found.is_some()
        })
        .await;
        found.and_then(|place| self.lines.drain(..=place).next_back()).unwrap()
    }

    async fn end(mut self) {
        command::signal(self.child.id().unwrap(), "TERM").await;
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// A plugin that `make.sh` makes of what is in a folder.
fn made_by(script: &str) -> (ProxyBuilder, PathBuf) {
    let builder = proxy(
        "[plugin.made]\npath = \"made.wasm\"\nconfig = {}\n\
         source = { dir = \"source\", command = [\"sh\", \"make.sh\"] }\n\
         [[route]]\nplugins = [\"made\"]\nrespond = { body = \"fine\" }\n",
    );
    let source = builder.folder().join("source");
    fs::create_dir(&source).unwrap();
    // It takes the guest that the source names.
    let take = "cp \"$guest\" ../next.wasm\nmv ../next.wasm ../made.wasm\n";
    fs::write(source.join("make.sh"), format!("set -e\nguest=$(cat guest)\n{script}\n{take}")).unwrap();
    (builder, source)
}

fn name(source: &Path, guest: &str) {
    fs::write(source.join("guest"), component(guest).display().to_string()).unwrap();
}

#[tokio::test]
async fn what_is_saved_is_made_and_swapped_in_and_what_cannot_be_made_is_told() {
    let (builder, source) = made_by("");
    name(&source, "tagger");
    let mut watch = Watch::begin(&builder.written());
    watch.says("the plugin \"made\" was made").await;
    watch.says("listening on").await;

    name(&source, "bare");
    watch.says("the plugin \"made\" was made").await;
    watch.says("reloaded (").await;

    fs::write(source.join("guest"), "nothing.wasm").unwrap();
    watch.says("cannot be made (exit status: 1); what is there stays in use").await;
    watch.end().await;
}

#[tokio::test]
async fn what_is_saved_while_a_build_runs_is_made_after_it() {
    // Each build takes what there is, and waits to be let.
    let (builder, source) = made_by("echo begun >> ../builds; until [ -e ../go ]; do sleep 0.05; done");
    let builds = builder.folder().join("builds");
    let begun = || fs::read_to_string(&builds).unwrap_or_default().lines().count();
    name(&source, "tagger");
    let mut watch = Watch::begin(&builder.written());
    eventually("a build", || begun() == 1).await;
    name(&source, "bare");
    fs::write(builder.folder().join("go"), "").unwrap();
    let bare = || fs::read(component("bare")).ok() == fs::read(builder.folder().join("made.wasm")).ok();
    eventually("a build with what was saved", bare).await;

    // A recording is nothing that a component is made of; a build that changes its own sources is told, and ends.
    let before = begun();
    fs::write(source.join("a.scenario.toml"), "").unwrap();
    let script = fs::read_to_string(source.join("make.sh")).unwrap() + "echo again >> log\n";
    fs::write(source.join("make.sh"), script).unwrap();
    let told =
        format!("files of the plugin \"made\" change whenever it is made, such as {}:", source.join("log").display());
    watch.says(&told).await;
    assert_eq!(begun(), before + 3);
    watch.end().await;
}

#[tokio::test]
async fn a_new_plugin_serves_and_is_made_anew_at_each_save() {
    if !languages::has("clang", "C") || !languages::has("wasm-ld", "C") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("teapot");
    let new = "cd \"$1\" && \"$0\" plugin new teapot --lang c";
    let lockgate = binary::lockgate();
    run("sh", ["-c", new, &lockgate.display().to_string(), &folder.path().display().to_string()]).await;
    let change = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(project.join(file)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(project.join(file), text.replace(from, to)).unwrap();
    };
    change("lockgate.toml", "127.0.0.1:8080", "127.0.0.1:0");
    let mut watch = Watch::begin(&project.join("lockgate.toml"));
    let listening = watch.says("listening on http://").await;
    let address = listening.rsplit('/').next().unwrap().parse().unwrap();
    assert_eq!(get(address, "/shop").await.header("x-teapot"), Some("hello"));

    change("plugin.c", "(void)verdict;", "answer(verdict, 418, \"short and stout\\n\");");
    within("the swap", async { while get(address, "/shop").await.status != 418 {} }).await;
    watch.end().await;
}
