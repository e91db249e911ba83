//! `lockgate run --watch`: plugins that are made anew when their sources are saved.

use std::fs;
use std::process::Stdio;

use lockgate_tests::{command, eventually, proxy};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use xtask::guests::component;

#[tokio::test]
async fn what_is_saved_is_made_and_swapped_in_and_what_cannot_be_made_is_told() {
    let builder = proxy(
        "[plugin.made]\npath = \"made.wasm\"\nconfig = {}\n\
         source = { dir = \"source\", command = [\"sh\", \"make.sh\"] }\n\
         [[route]]\nplugins = [\"made\"]\nrespond = { body = \"fine\" }\n",
    );
    let source = builder.folder().join("source");
    fs::create_dir(&source).unwrap();
    // A build that takes the guest that the source names.
    fs::write(source.join("make.sh"), "set -e\ncp \"$(cat guest)\" ../next.wasm\nmv ../next.wasm ../made.wasm\n")
        .unwrap();
    let name = |guest: &str| fs::write(source.join("guest"), component(guest).display().to_string()).unwrap();
    name("tagger");
    let file = builder.written();
    let mut child = Command::new(lockgate_tests::binary::lockgate())
        .args(["run", "--watch"])
        .arg(&file)
        .env("NO_COLOR", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (said, heard) = std::sync::mpsc::channel();
    let reader = tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = said.send(line);
        }
    });
    let mut all = Vec::new();
    let mut told = |words: &str| {
        all.extend(heard.try_iter());
        let found = all.iter().position(|line: &String| line.contains(words));
        found.map(|place| all.drain(..=place).next_back().unwrap())
    };
    eventually("a build", || told("the plugin \"made\" was made").is_some()).await;
    eventually("a start", || told("listening on").is_some()).await;

    name("bare");
    eventually("another build", || told("the plugin \"made\" was made").is_some()).await;
    eventually("the swap", || told("reloaded (").is_some()).await;

    fs::write(source.join("guest"), "nothing.wasm").unwrap();
    eventually("a failure", || told("cannot be made (exit status: 1); what is there stays in use").is_some()).await;
    command::signal(child.id().unwrap(), "TERM").await;
    assert!(child.wait().await.unwrap().success());
    reader.await.unwrap();
}
