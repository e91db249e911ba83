//! `lockgate plugin bench`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};

use super::Error;
use crate::author::Manifest;
use crate::bench::{Budget, Extent, bench};
use crate::config::{self, At, Component, Located, Plugin};
use crate::plugin::inspect;
use crate::synthetic::Synthetic;

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The component, or a plugin's folder: what was built there, as `lockgate.toml` there has it
    #[arg(default_value = ".", conflicts_with = "bundled")]
    file: PathBuf,
    /// A plugin that is built in, instead of a file
    #[arg(long, value_name = "NAME")]
    bundled: Option<String>,
    /// Its configuration: a TOML file with what `config` holds, or a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A TOML file with what a [plugin.NAME] section says: config, limits, grants, ...
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    settings: Option<PathBuf>,
    /// The request's method and target
    #[arg(long, value_name = "METHOD TARGET", default_value = "GET /products/7?colour=red")]
    request: String,
    /// A field of the request; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Bytes of the request's body and of the response's
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    body: usize,
    /// Exchanges that one instance serves before its memory is looked at
    #[arg(long, value_name = "COUNT", default_value_t = Extent::default().exchanges)]
    exchanges: u64,
    /// Exchanges that are timed
    #[arg(long, value_name = "COUNT", default_value_t = Extent::default().worst_of)]
    timed: u64,
    /// Seconds that each part of the measuring may take
    #[arg(long, value_name = "SECONDS", default_value_t = Extent::default().longest.as_secs())]
    seconds: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// What it may cost: a TOML file
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
}

pub(super) fn run(options: &Options, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    // First, because the measuring takes a while.
    let budget = options.budget.as_deref().map(Budget::load).transpose()?;
    let Subject { name, folder, plugin } = options.subject()?;
    let synthetic = options.synthetic()?;
    let extent = Extent {
        exchanges: options.exchanges,
        worst_of: options.timed,
        longest: Duration::from_secs(options.seconds.max(1)),
    };
    let figures = bench(&plugin, &folder, &synthetic, extent).map_err(|error| options.explain(&plugin, error))?;
    if options.json {
        let mut json = serde_json::json!(figures);
        json["plugin"] = name.clone().into();
        print(&format!("{json:#}\n"))?;
    } else {
        print(&format!("{name}\n{figures}"))?;
    }
    let Some((budget, path)) = budget.zip(options.budget.as_ref()) else { return Ok(()) };
    let exceeded = budget.exceeded(&figures);
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(Error::OverBudget { plugin: name, budget: path.clone(), exceeded })
}

/// What is measured.
struct Subject {
    name: String,
    /// Its relative paths are relative to this.
    folder: PathBuf,
    plugin: Plugin,
}

impl Options {
    fn subject(&self) -> Result<Subject, Error> {
        if let Some(name) = &self.bundled {
            let component = Component::Bundled(Located { value: name.clone(), at: At::default() });
            let plugin = self.configured(Plugin::new(At::default(), component))?;
            return Ok(Subject { name: format!("{name} (bundled)"), folder: ".".into(), plugin });
        }
        let (file, folder, plugin) = match self.file.is_dir() {
            true => self.project()?,
            false => (self.file.clone(), PathBuf::from("."), Plugin::new(At::default(), of_file(&self.file))),
        };
        let mut plugin = self.configured(plugin)?;
        let bytes = std::fs::read(&file).map_err(|error| Error::Read(file.clone(), error))?;
        let found = inspect(&bytes).map_err(|why| Error::Unfit(file.clone(), why))?;
        // What is measured is trusted with what it needs: a key space of its own, and nobody to call.
        plugin.grants.kv |= found.grants.contains(&"kv");
        if plugin.grants.http.is_empty() && found.grants.contains(&"http") {
            let nobody = Uri::from_static("https://nobody.invalid/");
            plugin.grants.http = vec![Located { value: nobody, at: At::default() }];
        }
        Ok(Subject { name: file.display().to_string(), folder, plugin })
    }

    /// What was built in a plugin's folder, and how the proxy there that tries it has it.
    fn project(&self) -> Result<(PathBuf, PathBuf, Plugin), Error> {
        let manifest = Manifest::read(&self.file)?;
        let (file, Manifest { folder, name, .. }) = (manifest.component(), manifest);
        if !file.exists() {
            let build = format!("`lockgate plugin build {}` makes it", folder.display());
            return Err(Error::Request(format!("{} is not there: {build}", file.display())));
        }
        let path = folder.join("lockgate.toml");
        let mut plugin = Plugin::new(At::default(), of_file(&file));
        if self.config.is_none() && self.settings.is_none() && path.exists() {
            if let Some(tried) = config::load(&path)?.plugins.remove(&name) {
                plugin = Plugin { component: plugin.component, record: None, ..*tried };
            }
            if let Component::Path(component) = &mut plugin.component {
                // Relative to that configuration, as all that it names.
                component.value = format!("{name}.wasm").into();
            }
            return Ok((file, folder, plugin));
        }
        Ok((file, PathBuf::from("."), plugin))
    }

    fn configured(&self, mut plugin: Plugin) -> Result<Plugin, Error> {
        if let Some(file) = &self.config {
            config::configure(&mut plugin, file)?;
        }
        if let Some(file) = &self.settings {
            config::set_up(&mut plugin, file)?;
        }
        Ok(plugin)
    }

    /// Says what may help a plugin that does not start.
    fn explain(&self, plugin: &Plugin, error: crate::bench::Error) -> Error {
        let is_bare = plugin.config.as_object().is_none_or(serde_json::Map::is_empty);
        match error {
            error @ crate::bench::Error::Use(_) if is_bare && self.config.is_none() && self.settings.is_none() => {
                Error::Request(format!("{error}; --config FILE says how it is configured, which nothing does as yet"))
            }
            error => error.into(),
        }
    }

    fn synthetic(&self) -> Result<Synthetic, Error> {
        let mut synthetic = Synthetic::new();
        let wrong = |what: &str| Error::Request(format!("{what:?} is not what a request begins with: METHOD TARGET"));
        let (method, target) = self.request.split_once(' ').ok_or_else(|| wrong(&self.request))?;
        synthetic.request.method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong(&self.request))?;
        synthetic.request.uri = target.trim().parse::<Uri>().map_err(|_| wrong(&self.request))?;
        for field in &self.header {
            let wrong = || Error::Request(format!("{field:?} is not a field: NAME: VALUE"));
            let (name, value) = field.split_once(':').ok_or_else(wrong)?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
            synthetic.request.headers.insert(name, value);
        }
        let body =
            Bytes::from(b"lorem ipsum dolor sit amet ".iter().copied().cycle().take(self.body).collect::<Vec<_>>());
        synthetic.body = body.clone();
        synthetic.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        synthetic.response_body = body;
        Ok(synthetic)
    }
}

fn of_file(path: &Path) -> Component {
    Component::Path(Located { value: path.to_owned(), at: At::default() })
}

pub(super) const EXAMPLES: &str = "\
Examples:
  lockgate plugin bench                     what was built in this folder, as its lockgate.toml has it
  lockgate plugin bench my-plugin.wasm --config my-plugin.toml
  lockgate plugin bench my-plugin.wasm --request 'POST /login' -H 'content-type: application/json' --body 4096
  lockgate plugin bench my-plugin.wasm --budget budget.toml --json

A budget, of which each line may be missing:
  size = \"40 KiB\"
  compile = \"500ms\"
  fresh = \"20us\"        # what an instance of its own costs an exchange
  exchange = \"3us\"      # all hooks of one exchange
  memory = \"2 MiB\"      # of one instance, after all exchanges
  growth = 0            # since the first of them
  [hook.on-request]
  call = \"1us\"          # own_stack and workers_stack to be more exact
  worst = \"1ms\"";
