//! The tenants' own files: which there are, what they say, and whether that is within the operator's terms.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component as Part, Path, PathBuf};
use std::sync::Arc;

use super::include::expand;
use super::load::{examine_tenant, read};
use super::routes::name;
use super::{At, Certificate, Component, Config, Located, Problems, Reach, Source, Terms};

/// Every tenant, and what nobody owns.
#[derive(Debug)]
pub struct Members {
    /// By name.
    pub all: BTreeMap<String, Member>,
    /// Files of which no tenant can be made.
    pub strays: Vec<Problems>,
    /// Which host is whose.
    pub claims: Arc<Claims>,
}

/// A tenant as the operator and its own file have it.
#[derive(Debug)]
pub struct Member {
    /// What it may have.
    pub terms: Terms,
    /// Its file; none if it is named but nothing that is included is its.
    pub file: Option<PathBuf>,
    /// What its file says, as far as that makes sense.
    pub config: Option<Config>,
    /// What is wrong with its file.
    pub problems: Problems,
}

/// Which host is whose.
#[derive(Debug, Default)]
pub struct Claims {
    names: HashMap<String, Claim>,
    /// By what follows the `*.`.
    wildcards: HashMap<String, Claim>,
}

#[derive(Debug)]
struct Claim {
    /// None for the operator.
    tenant: Option<String>,
    at: At,
}

/// Reads the files that `include` names. What is wrong with one of them is that tenant's problem alone.
#[must_use]
pub fn members(config: &Config) -> Members {
    let mut all = BTreeMap::new();
    let mut strays = Vec::new();
    for file in included_files(config) {
        let name = match tenant_of(&file) {
            Ok(name) => name,
            Err(sentence) => {
                strays.push(about_file(&file, sentence));
                continue;
            }
        };
        let terms = config.tenants.terms_of(&name);
        match all.get(&name) {
            Some(Member { file: Some(first), .. }) => {
                let sentence = format!("the tenant {name:?} has a file already: {}", first.display());
                strays.push(about_file(&file, sentence));
            }
            _ => {
                all.insert(name.clone(), Member::read(&name, terms, file, config));
            }
        }
    }
    for name in config.tenants.named.keys() {
        all.entry(name.clone()).or_insert_with(|| Member::without_file(config.tenants.terms_of(name)));
    }
    let claims = Claims::of(config, &all);
    for (name, member) in &mut all {
        if let Some(own) = &member.config {
            claims.check(name, own, &member.terms, &config.source, &mut member.problems);
            member.terms.check(name, own, config, &mut member.problems);
        }
    }
    Members { all, strays, claims: Arc::new(claims) }
}

/// The files that `include` names now.
#[must_use]
pub fn included_files(config: &Config) -> Vec<PathBuf> {
    let patterns = config.tenants.include.iter().map(|pattern| config.source.resolve(Path::new(&pattern.value)));
    let files: std::collections::BTreeSet<_> = patterns.flat_map(|pattern| expand(&pattern)).collect();
    files.into_iter().filter(|file| *file != config.source.path).collect()
}

impl Member {
    fn read(tenant: &str, terms: Terms, file: PathBuf, operators: &Config) -> Self {
        let source = match read(&file) {
            Ok(source) => source,
            Err(problems) => return Self { terms, file: Some(file), config: None, problems },
        };
        let (config, mut problems) = examine_tenant(source, operators);
        let config = config.map(|mut config| {
            let home = Home::of(tenant, &terms, &file, &operators.source);
            home.confine(&mut config, &mut problems);
            terms.cap(tenant, &mut config, &operators.source, &mut problems);
            let reach = Arc::new(Reach::of(&terms, operators));
            config.upstreams.values_mut().for_each(|upstream| upstream.reach = Some(Arc::clone(&reach)));
            config
        });
        Self { terms, file: Some(file), config, problems }
    }

    fn without_file(terms: Terms) -> Self {
        Self { terms, file: None, config: None, problems: Problems::new(&Source::default()) }
    }
}

/// The tenant that a file is of: `NAME.toml` or `NAME/tenant.toml`.
fn tenant_of(file: &Path) -> Result<String, String> {
    let stem = if is_in_its_folder(file) { file.parent().and_then(Path::file_name) } else { file.file_stem() };
    let stem = stem.and_then(|stem| stem.to_str()).unwrap_or_default();
    name(stem)
        .map_err(|_| format!("{stem:?} cannot be a tenant's name: they have letters, digits, \"-\", \"_\" and \".\""))
}

fn is_in_its_folder(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tenant.toml")
}

fn about_file(file: &Path, sentence: String) -> Problems {
    let mut problems = Problems::new(&Source { path: file.to_owned(), text: String::new() });
    problems.push(&At::default(), sentence);
    problems
}

/// Where a tenant's files may be.
struct Home {
    /// Its own folder, as seen from the folder that its configuration file is in.
    own: PathBuf,
    /// The folder that its configuration file is in.
    folder: PathBuf,
    /// What else it may name, without links.
    others: Vec<PathBuf>,
}

impl Home {
    fn of(tenant: &str, terms: &Terms, file: &Path, operators: &Source) -> Self {
        let real = |path: PathBuf| path.canonicalize().or_else(|_| std::path::absolute(&path)).unwrap_or(path);
        let own = match &terms.directory {
            Some(directory) => real(operators.resolve(&directory.value)),
            None if is_in_its_folder(file) => PathBuf::new(),
            None => PathBuf::from(tenant),
        };
        let others = terms.paths.iter().map(|path| real(operators.resolve(&path.value))).collect();
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        Self { own, folder: folder.to_owned(), others }
    }

    /// Makes every path in the file relative to the tenant's own folder, and reports those that lead out of it.
    fn confine(&self, config: &mut Config, problems: &mut Problems) {
        let plugins = config.plugins.values_mut().flat_map(|plugin| {
            let component = match &mut plugin.component {
                Component::Path(path) => Some(path),
                Component::Bundled(_) | Component::Registry(_) => None,
            };
            component.into_iter().chain(&mut plugin.grants.ca)
        });
        let authorities = config.upstreams.values_mut().filter_map(|upstream| upstream.tls.ca.as_mut());
        let certificates = config.certificates.iter_mut().flat_map(Certificate::files_mut);
        for path in plugins.chain(authorities).chain(certificates) {
            self.confine_one(path, problems);
        }
    }

    fn confine_one(&self, path: &mut Located<PathBuf>, problems: &mut Problems) {
        let within = self.own.join(&path.value);
        if !self.holds(&path.value, &self.folder.join(&within)) {
            let own = self.folder.join(&self.own);
            problems
                .push(&path.at, format!("{:?} is not in the tenant's own folder", path.value.display().to_string()));
            let own = own.strip_prefix(".").unwrap_or(&own);
            problems.hint(format!("its files are in {}, unless the operator's `paths` name others", own.display()));
        }
        path.value = within;
    }

    /// Whether a file, wherever links lead, is within what the tenant may name.
    fn holds(&self, written: &Path, file: &Path) -> bool {
        let Ok(real) = file.canonicalize() else {
            // What is not there is reported when it is read; but not even whether it is there is for others to know.
            return written.components().all(|part| matches!(part, Part::Normal(_) | Part::CurDir));
        };
        let own = self.folder.join(&self.own).canonicalize();
        own.is_ok_and(|own| real.starts_with(own)) || self.others.iter().any(|other| real.starts_with(other))
    }
}

impl Claims {
    fn of(config: &Config, members: &BTreeMap<String, Member>) -> Self {
        let mut claims = Self::default();
        for host in config.routes.iter().flat_map(|route| &route.hosts) {
            claims.add(&host.value, None, &host.at);
        }
        // What is said of one tenant goes before what is said of all.
        for inherited in [false, true] {
            for (name, member) in members {
                let is_inherited = |host: &&Located<String>| host.at.path.starts_with("tenants.") == inherited;
                for host in member.terms.hosts.iter().filter(is_inherited) {
                    claims.add(&host.value, Some(name), &host.at);
                }
            }
        }
        claims
    }

    fn add(&mut self, host: &str, tenant: Option<&String>, at: &At) {
        let claim = || Claim { tenant: tenant.cloned(), at: at.clone() };
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcards.entry(suffix.to_owned()).or_insert_with(claim),
            None => self.names.entry(host.to_owned()).or_insert_with(claim),
        };
    }

    /// Every host that a tenant owns: name or `*.wildcard`, and whose.
    pub fn of_tenants(&self) -> impl Iterator<Item = (String, &str)> {
        let names = self.names.iter().map(|(name, claim)| (name.clone(), claim));
        let wildcards = self.wildcards.iter().map(|(suffix, claim)| (format!("*.{suffix}"), claim));
        names.chain(wildcards).filter_map(|(host, claim)| Some((host, claim.tenant.as_deref()?)))
    }

    /// Reports the hosts of a tenant's routes that are not its own.
    pub fn check(&self, tenant: &str, config: &Config, terms: &Terms, operators: &Source, problems: &mut Problems) {
        for route in &config.routes {
            for host in &route.hosts {
                let owner = self.owner(&host.value);
                match owner.map(|claim| (claim.tenant.as_deref(), claim)) {
                    Some((Some(owner), _)) if owner == tenant => {}
                    Some((Some(owner), claim)) => {
                        problems.push(&host.at, format!("the host {:?} is the tenant {owner:?}'s", host.value));
                        problems.hint(format!("it was given to that one at {}", operators.place(&claim.at)));
                    }
                    Some((None, claim)) => {
                        problems.push(&host.at, format!("the host {:?} is the operator's own", host.value));
                        problems.hint(format!("a route of the operator's has it at {}", operators.place(&claim.at)));
                    }
                    None => {
                        problems
                            .push(&host.at, format!("the tenant {tenant:?} was not given the host {:?}", host.value));
                        problems.hint(given(terms, operators));
                    }
                }
            }
            if route.hosts.is_empty() && terms.hosts.is_empty() {
                problems
                    .push(&route.at, format!("the tenant {tenant:?} was given no host that the route could be for"));
                problems.hint("the operator gives it some with [tenant.NAME] or [tenants] hosts = [..]");
            }
        }
    }

    /// The tenant that owns a host, a name or a `*.wildcard`, if one does.
    #[must_use]
    pub fn tenant_of(&self, host: &str) -> Option<&str> {
        self.owner(host)?.tenant.as_deref()
    }

    /// Who has the most specific claim that covers `host`, a name or a wildcard.
    fn owner(&self, host: &str) -> Option<&Claim> {
        let (exact, mut rest) = match host.strip_prefix("*.") {
            Some(suffix) => (self.wildcards.get(suffix), suffix),
            None => (self.names.get(host), host),
        };
        if exact.is_some() {
            return exact;
        }
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(claim) = self.wildcards.get(suffix) {
                return Some(claim);
            }
            rest = suffix;
        }
        None
    }
}

fn given(terms: &Terms, operators: &Source) -> String {
    let Some(first) = terms.hosts.first() else {
        return "the operator gives hosts with [tenant.NAME] or [tenants] hosts = [..]".to_owned();
    };
    let hosts: Vec<_> = terms.hosts.iter().map(|host| format!("{:?}", host.value)).collect();
    format!("it was given {}, at {}", hosts.join(", "), operators.place(&first.at))
}
