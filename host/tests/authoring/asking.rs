//! Calls of a plugin's own, with the client of each language's kit.

use crate::javascript::npm;
use crate::scene::{Scene, has};

#[test]
fn a_plugin_in_go_asks_over_http() {
    if has("go", "Go") {
        asks("go", "plugin.go", GO, "");
    }
}

#[test]
fn plugins_in_javascript_and_typescript_ask_over_http() {
    if has("npm", "JavaScript") {
        asks("js", "plugin.js", JAVASCRIPT, "");
        asks("ts", "plugin.ts", &JAVASCRIPT.replace("(error)", "(error: any)"), "");
    }
}

#[test]
fn a_plugin_in_python_asks_over_http() {
    if has("componentize-py", "Python") {
        asks("python", "plugin.py", PYTHON, "");
    }
}

#[test]
fn a_plugin_in_rust_asks_over_http() {
    let line = "log = [\"warn: somebody is nowhere of=gone bytes=\"]\n";
    asks("rust", "src/lib.rs", RUST, line);
}

/// Builds it, hears that it needs a grant, and has it ask for three things. More than that may be expected.
fn asks(language: &str, file: &str, source: &str, more: &str) {
    let scene = Scene::new();
    scene.new_plugin("asker", language, "");
    scene.write(&format!("asker/{file}"), source);
    scene.write("asker/asker.scenario.toml", &format!("{SCENARIO}{more}"));
    if matches!(language, "js" | "ts") {
        npm(&scene, "asker", &["install"]);
    }
    scene.build("asker");
    let said = scene.lockgate(&["check", "asker/lockgate.toml"]);
    assert!(said.code == 2 && said.err.contains("add grants = { http = ["), "{said:?}");
    let said = scene.lockgate(&["plugin", "test", "asker/asker.scenario.toml"]);
    assert_eq!(said.code, 0, "{}{}", said.err, said.out);
}

/// The second is asked with a field and a body and has no `x-kind`; the third cannot be reached.
const SCENARIO: &str = r#"
path = "asker.wasm"
limits = { cpu = "20s" }
grants = { http = ["https://auth.internal/"] }

[[scenario]]
request = { target = "/" }

[[scenario.http]]
request = "GET https://auth.internal/user"
status = 201
headers = { x-kind = "a person", x-more = ["1", "2"] }
body = "alice"

[[scenario.http]]
request = "POST https://auth.internal/audit"
status = 204

[[scenario.http]]
request = "GET https://auth.internal/gone"
error = "connect"

[scenario.expect]
http = ["GET https://auth.internal/user", "POST https://auth.internal/audit", "GET https://auth.internal/gone"]
request.headers = { x-first = "201 a person x-kind=a person,x-more=1,x-more=2 alice", x-second = "204 none", x-third = "connect" }
"#;

const RUST: &str = r#"use lockgate_plugin::http_client::{self, Request};
use lockgate_plugin::{NoConfig, OnRequest, Plugin, Verdict, log, request};

struct Asker;

impl Plugin for Asker {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
}

impl OnRequest for Asker {
    fn on_request(&mut self) -> Verdict {
        let user = http_client::get("https://auth.internal/user").expect("an answer");
        let kind = user.header("X-Kind").unwrap_or_default();
        let fields = user.headers().into_iter().filter(|(name, _)| name.starts_with("x-"));
        let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
        let first = format!("{} {kind} {} ", user.status, fields.join(","));
        let name = user.bytes(100).expect("a body");
        request::set_header("x-first", &(first + &String::from_utf8_lossy(&name))).expect("a field");

        let headers = [("x-user", "alice")];
        let asked = http_client::request("https://auth.internal/audit");
        let audit = http_client::send(&Request { method: "POST", headers: &headers, body: &name, ..asked }).expect("an answer");
        if audit.header("x-kind").is_none() {
            request::set_header("x-second", &format!("{} none", audit.status)).expect("a field");
        }

        if let Err(http_client::Error::Connect(why)) = http_client::get("https://auth.internal/gone") {
            log::warn!(of = "gone", bytes = why.len(), "{} is nowhere", "somebody");
            request::set_header("x-third", "connect").expect("a field");
        }
        Verdict::Proceed
    }
}

lockgate_plugin::export!(Asker: OnRequest);
"#;

const GO: &str = r#"package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lockgate"
)

type Plugin struct{}

func New(struct{}) (*Plugin, error) { return &Plugin{}, nil }

func (p *Plugin) OnRequest(ctx context.Context) lockgate.Verdict {
	user, err := lockgate.Fetch(ctx, lockgate.HTTPRequest{URL: "https://auth.internal/user"})
	if err != nil {
		panic(err)
	}
	kind, _ := user.Header("X-Kind")
	fields := []string{}
	for _, field := range user.Headers() {
		if strings.HasPrefix(field[0], "x-") {
			fields = append(fields, field[0]+"="+field[1])
		}
	}
	name, err := user.ReadAll(100)
	if err != nil {
		panic(err)
	}
	lockgate.Request.SetHeader("x-first", fmt.Sprint(user.Status, " ", kind, " ", strings.Join(fields, ","), " ", string(name)))

	audit, err := lockgate.Fetch(ctx, lockgate.HTTPRequest{
		Method: "POST", URL: "https://auth.internal/audit", Headers: [][2]string{{"x-user", string(name)}}, Body: name,
	})
	if err != nil {
		panic(err)
	}
	defer audit.Close()
	if kind, found := audit.Header("x-kind"); !found {
		lockgate.Request.SetHeader("x-second", fmt.Sprint(audit.Status, " none", kind))
	}

	var refused *lockgate.Error
	if _, err = lockgate.Fetch(ctx, lockgate.HTTPRequest{URL: "https://auth.internal/gone"}); errors.As(err, &refused) && lockgate.Log.Enabled(lockgate.LevelError) {
		lockgate.Request.SetHeader("x-third", refused.Code)
	}
	return lockgate.Proceed
}
"#;

const JAVASCRIPT: &str = r#"import { decode, fetch, log, request } from "lockgate";

export function onRequest() {
  const user = fetch("https://auth.internal/user");
  const fields = [...user.headers].filter(([name]) => name.startsWith("x-")).map((field) => field.join("="));
  if (!user.headers.has("x-more") || user.headers.entries().length < fields.length) throw new Error("fields are missing");
  let name = "";
  for (let part = user.read(2); part.length > 0; part = user.read(2)) name += decode(part);
  request.headers.set("x-first", `${user.status} ${user.headers.get("X-Kind")} ${fields} ${name}${user.read().length || ""}`);

  const audit = fetch("https://auth.internal/audit", { method: "POST", headers: { "x-user": "alice" }, body: "alice" });
  if (audit.headers.get("x-kind") === null && !audit.headers.has("x-kind")) request.headers.set("x-second", `${audit.status} none`);
  audit.close();

  try {
    fetch("https://auth.internal/gone");
  } catch (error) {
    if (log.enabled("error")) request.headers.set("x-third", error.code);
  }
}
"#;

const PYTHON: &str = r#"from lockgate import HostError, Plugin, http, log, request


class Asker(Plugin):
    def on_request(self):
        user = http.fetch("https://auth.internal/user")
        fields = ",".join(f"{name}={value}" for name, value in user.headers if name.startswith("x-"))
        first = f"{user.status} {user.header('X-Kind')} {fields} {user.content().decode()}"
        request.headers["x-first"] = first

        audit = http.fetch("https://auth.internal/audit", "POST", {"x-user": "alice"}, "alice")
        if audit.header("x-kind") is None:
            request.headers["x-second"] = f"{audit.status} none"
        audit.close()

        try:
            http.fetch("https://auth.internal/gone")
        except HostError as error:
            if log.enabled("error"):
                request.headers["x-third"] = error.code
"#;
