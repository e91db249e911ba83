//! What a listener asks of clients before it serves them: one policy for the names of each set of rules, with sessions of its
//! own, so that what was agreed on under one is worth nothing under another.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ServerSessionMemoryCache, WebPkiClientVerifier};
use sha2::{Digest, Sha256};

use super::client::Trusted;
use super::server::{ByName, load};
use super::{HTTP1, HTTP2, pem, provider};
use crate::config::{Certificate, ClientAuth, ClientAuthMode, Located, Problems, Source};

/// What tells the rules for clients of one policy from those of another; zeros where nothing is asked.
pub(super) type Rules = [u8; 32];

/// Certificates with the same rules for clients.
pub(super) struct Policy {
    certificates: Arc<ByName>,
    /// Without HTTP/2, and with it, where it is spoken.
    configs: [Arc<rustls::ServerConfig>; 2],
    pub(super) rules: Rules,
    /// Whether backends are told of the client's certificate.
    pub(super) forwards: bool,
}

/// The certificates of a listener, or of a tenant. The first is shown to clients that ask for no name, or an unknown one.
pub(super) struct Policies {
    all: Vec<Policy>,
    /// A digest of it all.
    pub(super) identity: [u8; 32],
}

/// What is asked of a client, ready for use.
struct Asked {
    verifier: Arc<dyn ClientCertVerifier>,
    rules: Rules,
    forwards: bool,
}

/// How the sessions of a policy are kept, and what it speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Sessions of clients without tickets.
    pub(super) sessions: usize,
    /// Whether it is known to which listener it belongs, and so whether it speaks HTTP/2.
    pub(super) http2: Option<bool>,
}

impl Policies {
    /// Reads certificates and keys, and what clients must show. `names` says for which of its names a certificate is used, or
    /// reports why for none. Everything wrong becomes a problem.
    pub(super) fn build(
        certificates: &[Certificate],
        of_all: Option<&ClientAuth>,
        terms: Terms,
        source: &Source,
        problems: &mut Problems,
        mut names: impl FnMut(&Certificate, Vec<String>, &mut Problems) -> Option<Vec<String>>,
    ) -> Option<Self> {
        let before = problems.len();
        let mut hasher = Sha256::new();
        let mut groups: Vec<(Asked, ByName)> = Vec::new();
        let mut taken: Vec<(BTreeSet<String>, Rules)> = Vec::new();
        for certificate in certificates {
            let asked = ask(certificate.client_auth.as_ref().or(of_all), source, problems);
            let Some(loaded) = load(certificate, source, problems) else { continue };
            let Some(names) = names(certificate, loaded.names, problems) else { continue };
            let Some(asked) = asked else { continue };
            hasher.update(loaded.identity);
            hasher.update(asked.rules);
            names.iter().for_each(|name| hasher.update(name));
            let own: BTreeSet<_> = names.iter().cloned().collect();
            if let Some((theirs, _)) =
                taken.iter().find(|(other, rules)| *rules != asked.rules && !other.is_disjoint(&own))
            {
                let name = theirs.intersection(&own).next().map_or("", String::as_str);
                let sentence = format!("another certificate for {name} asks something else of clients");
                problems.push(&certificate.certificate.at, sentence);
            }
            taken.push((own, asked.rules));
            let key = Arc::new(loaded.key);
            match groups.iter_mut().find(|(known, _)| known.rules == asked.rules) {
                Some((_, by_name)) => by_name.add(&names, key),
                None => {
                    let mut by_name = ByName::default();
                    by_name.add(&names, key);
                    groups.push((asked, by_name));
                }
            }
        }
        if problems.len() > before || groups.is_empty() {
            return None;
        }
        let all = groups.into_iter().map(|(asked, by_name)| Policy::new(asked, by_name, terms)).collect();
        Some(Self { all, identity: hasher.finalize().into() })
    }

    /// The one for that name.
    pub(super) fn of(&self, name: Option<&str>) -> &Policy {
        let exact = |name: &str| self.all.iter().find(|policy| policy.certificates.has_exact(name));
        let wildcard = |name: &str| self.all.iter().find(|policy| policy.certificates.find(name).is_some());
        name.and_then(|name| exact(name).or_else(|| wildcard(name))).unwrap_or(&self.all[0])
    }

    /// The one for that name, if a certificate is for it.
    pub(super) fn for_name(&self, name: &str) -> Option<&Policy> {
        Some(self.of(Some(name))).filter(|policy| policy.certificates.find(name).is_some())
    }

    /// The only one, if there is only one.
    pub(super) fn single(&self) -> Option<&Policy> {
        if let [policy] = &*self.all { Some(policy) } else { None }
    }

    /// Whether any of them asks something of clients.
    pub(super) fn ask(&self) -> bool {
        self.all.iter().any(|policy| policy.rules != NOTHING)
    }
}

impl Policy {
    fn new(asked: Asked, certificates: ByName, terms: Terms) -> Self {
        let certificates = Arc::new(certificates);
        let config = |http2| Arc::new(server_config(&certificates, &asked, http2, terms.sessions));
        let configs = match terms.http2 {
            Some(http2) => {
                let config = config(http2);
                [config.clone(), config]
            }
            None => [config(false), config(true)],
        };
        Self { certificates, configs, rules: asked.rules, forwards: asked.forwards }
    }

    /// How TLS is spoken.
    pub(super) fn config(&self, http2: bool) -> &Arc<rustls::ServerConfig> {
        &self.configs[usize::from(http2)]
    }
}

fn server_config(certificates: &Arc<ByName>, asked: &Asked, http2: bool, sessions: usize) -> rustls::ServerConfig {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider offers suites for both versions")
        .with_client_cert_verifier(asked.verifier.clone())
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = if http2 { vec![HTTP2.to_vec(), HTTP1.to_vec()] } else { vec![HTTP1.to_vec()] };
    // Early data can be replayed, and none of our backends can tell.
    config.max_early_data_size = 0;
    // Tickets for all that take them, with keys that rotate; the cache is for TLS 1.2 clients that do not.
    config.session_storage = ServerSessionMemoryCache::new(sessions);
    match rustls::crypto::aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!("no TLS session tickets: {error}"),
    }
    config
}

/// What is asked of clients. None if it cannot be, which has then been reported.
fn ask(auth: Option<&ClientAuth>, source: &Source, problems: &mut Problems) -> Option<Asked> {
    let Some(ClientAuth { ca: Some(ca), crl, mode, forward, .. }) =
        auth.filter(|auth| auth.mode != ClientAuthMode::None)
    else {
        return Some(Asked { verifier: Arc::new(NoClientAuth), rules: NOTHING, forwards: false });
    };
    let trusted = Trusted::from_file(&source.resolve(&ca.value));
    let trusted = trusted.map_err(|sentence| _ = problems.push(&ca.at, sentence)).ok();
    let revoked = match crl.as_ref().map(|crl| revoked(crl, source)).transpose() {
        Ok(revoked) => Some(revoked),
        Err((crl, sentence)) => {
            problems.push(&crl.at, sentence);
            None
        }
    };
    let (trusted, revoked) = (trusted?, revoked?);
    let mut rules = Sha256::new_with_prefix([*mode as u8, u8::from(*forward)]);
    rules.update(trusted.digest);
    let (lists, digest) = revoked.unwrap_or_default();
    rules.update(digest);
    let verifier = verifier(trusted.roots, lists, *mode);
    let verifier = verifier.map_err(|error| _ = problems.push(&ca.at, format!("cannot be used: {error}"))).ok()?;
    Some(Asked { verifier, rules: rules.finalize().into(), forwards: *forward })
}

type Revoked = (Vec<CertificateRevocationListDer<'static>>, [u8; 32]);

fn revoked<'a>(
    file: &'a Located<std::path::PathBuf>,
    source: &Source,
) -> Result<Revoked, (&'a Located<std::path::PathBuf>, String)> {
    let path = source.resolve(&file.value);
    let read = || {
        let bytes = pem::read(&path)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = lists.map_err(|error| format!("{} is not valid PEM: {}", path.display(), pem::reason(&error)))?;
        if lists.is_empty() {
            return Err(format!("{} holds no list of revoked certificates in PEM form", path.display()));
        }
        Ok((lists, Sha256::digest(&bytes).into()))
    };
    read().map_err(|sentence| (file, sentence))
}

fn verifier(
    roots: RootCertStore,
    lists: Vec<CertificateRevocationListDer<'static>>,
    mode: ClientAuthMode,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match mode {
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
        ClientAuthMode::Required | ClientAuthMode::None => builder,
    };
    if lists.is_empty() {
        return builder.build();
    }
    // Those who sign are in a file of the operator's; what they signed is what gets lost.
    builder.with_crls(lists).only_check_end_entity_revocation().build()
}

/// Nothing is asked of clients.
pub(super) const NOTHING: Rules = [0; 32];
