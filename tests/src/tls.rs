//! Certificates for a scene, and what clients and backends need to use them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority of the scene's own, and a folder for what it issues.
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and its key, as PEM files and as bytes.
#[derive(Debug)]
pub struct Issued {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    chain: CertificateDer<'static>,
    serial: SerialNumber,
    private: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificates").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// A new authority.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "a scene's authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// The authority's certificate as a PEM file, for `--cacert` and `tls.ca`.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate for a name.
    #[must_use]
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| ())
    }

    /// Issues one that has expired.
    #[must_use]
    pub fn issue_expired(&self, name: &str) -> Issued {
        self.issue_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    /// Issues one that is good so long before and after now.
    #[must_use]
    pub fn issue_around_now(&self, name: &str, span: Duration) -> Issued {
        self.issue_with(name, |params| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - span);
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + (now + span);
        })
    }

    /// Issues one as authorities of the web do: for 90 days, for servers only, with the key's and the authority's identifiers.
    #[must_use]
    pub fn issue_for_the_web(&self, name: &str) -> Issued {
        self.issue_with(name, |params| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now - DAY;
            params.not_after = params.not_before + 90 * DAY;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.is_ca = IsCa::ExplicitNoCa;
            params.use_authority_key_identifier_extension = true;
        })
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let number = std::fs::read_dir(self.folder.path()).unwrap().count();
        // Long, as on the web: auditors find fault with short ones.
        let serial = SerialNumber::from([&b"lockgate"[..], &number.to_be_bytes()].concat());
        params.serial_number = Some(serial.clone());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let file = |kind: &str| self.folder.path().join(format!("{}-{number}.{kind}", name.replace('*', "any")));
        let issued = Issued {
            certificate: file("crt"),
            key: file("key"),
            chain: certificate.der().clone(),
            serial,
            private: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        };
        std::fs::write(&issued.certificate, certificate.pem()).unwrap();
        std::fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }

    /// Writes a list of those certificates of this authority that have been revoked, and says where.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Issued]) -> PathBuf {
        let entry = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let (next, file) = (self.folder.path().join("next.crl"), self.folder.path().join("revoked.crl"));
        std::fs::write(&next, list.signed_by(&self.authority).unwrap().pem().unwrap()).unwrap();
        std::fs::rename(next, &file).unwrap();
        file
    }

    /// What a client needs that trusts this authority only, and shows a certificate.
    #[must_use]
    pub fn client_with(&self, shown: &Issued, alpn: &[&str]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        let mut config = builder.with_client_auth_cert(vec![shown.chain.clone()], shown.private.clone_key()).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        roots
    }

    /// What a client needs that trusts this authority only.
    #[must_use]
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(&[&rustls::version::TLS13, &rustls::version::TLS12], alpn)
    }

    /// The same, for a client that offers only some ways to exchange keys.
    #[must_use]
    pub fn client_offering(&self, offers: fn(NamedGroup) -> bool) -> ClientConfig {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups.retain(|group| offers(group.name()));
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same, for some versions of TLS.
    #[must_use]
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(self.roots()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Issued {
    /// What a server needs that shows this certificate.
    #[must_use]
    pub fn server(&self, alpn: &[&str]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let chain = vec![self.chain.clone()];
        let mut config = builder.with_no_client_auth().with_single_cert(chain, self.private.clone_key()).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}
