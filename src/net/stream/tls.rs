//! TLS: certificates from files, and who a peer proves to be (RFC 5922).

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, KeyLog, NoKeyLog, RootCertStore,
    ServerConfig, SignatureScheme,
};
use webpki::EndEntityCert;

use super::PeerName;
use super::key_log::KeyLogFile;

/// Where certificates come from. All are PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate chain, ours first, and its key: shown to callers, and to carriers that ask. `None`: we are
    /// nobody, and take no TLS connections.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Authorities that carriers' certificates must come from; `None` = those that browsers trust.
    pub ca: Option<PathBuf>,
    /// Authorities that callers' certificates must come from, where a listener asks for one.
    pub client_ca: Option<PathBuf>,
    /// Where the secrets of connections are written, so that a capture of them can be read.
    pub key_log: Option<PathBuf>,
}

/// Why TLS cannot be set up; the text names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}: {1}")]
    File(String, String),
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What new connections begin with.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// For those we open; the second lets wildcards stand for names.
    strict: Arc<ClientConfig>,
    lenient: Arc<ClientConfig>,
    /// For those we accept; `None` without a certificate of ours.
    server: Option<Arc<ServerConfig>>,
    /// The same, asking for a certificate that `client_ca` has signed.
    mutual: Option<Arc<ServerConfig>>,
}

impl TlsFiles {
    /// Reads and checks all files.
    pub fn load(&self) -> Result<TlsConfigs, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = self.own.as_ref().map(|(chain, key)| read_own(chain, key)).transpose()?;
        let roots = match &self.ca {
            Some(path) => read_roots(path)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let roots = Arc::new(roots);
        let key_log: Arc<dyn KeyLog> = match &self.key_log {
            Some(path) => Arc::new(KeyLogFile::open(path).map_err(|error| in_file(path, &error))?),
            None => Arc::new(NoKeyLog {}),
        };
        let client = |allows_wildcard| -> Result<Arc<ClientConfig>, TlsError> {
            let verifier = CarrierVerifier::new(roots.clone(), &provider, allows_wildcard)?;
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier));
            let mut config = match &own {
                Some((chain, key)) => {
                    builder.with_client_auth_cert(chain.clone(), key.clone_key())?
                }
                None => builder.with_no_client_auth(),
            };
            config.key_log = key_log.clone();
            Ok(Arc::new(config))
        };
        let server = |client_ca: Option<&Path>| -> Result<Option<Arc<ServerConfig>>, TlsError> {
            let Some((chain, key)) = &own else { return Ok(None) };
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?;
            let builder = match client_ca {
                Some(path) => {
                    let roots = Arc::new(read_roots(path)?);
                    let verifier =
                        WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                            .build()
                            .map_err(|error| in_file(path, &error))?;
                    builder.with_client_cert_verifier(verifier)
                }
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_single_cert(chain.clone(), key.clone_key())?;
            config.key_log = key_log.clone();
            Ok(Some(Arc::new(config)))
        };
        let mutual = match &self.client_ca {
            Some(path) => server(Some(path))?,
            None => None,
        };
        Ok(TlsConfigs {
            strict: client(false)?,
            lenient: client(true)?,
            server: server(None)?,
            mutual,
        })
    }

    /// When each file was last written: what has changed since a look before is to be loaded anew.
    pub fn written_at(&self) -> Vec<Option<SystemTime>> {
        let own = self.own.iter().flat_map(|(chain, key)| [chain, key]);
        own.chain(&self.ca)
            .chain(&self.client_ca)
            .map(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
            .collect()
    }
}

impl TlsConfigs {
    /// The server's side of a new connection; `None` where we have no certificate for it.
    pub(super) fn server(&self, is_mutual: bool) -> Option<Arc<ServerConfig>> {
        if is_mutual { self.mutual.clone() } else { self.server.clone() }
    }

    /// Our side of a connection to a server that must prove to be `name`.
    pub(super) fn client(&self, name: &PeerName) -> Result<rustls::ClientConnection, TlsError> {
        let config = if name.allows_wildcard { &self.lenient } else { &self.strict };
        let host = ServerName::try_from(name.host.to_string())
            .map_err(|error| TlsError::File(name.host.to_string(), error.to_string()))?;
        Ok(rustls::ClientConnection::new(config.clone(), host)?)
    }
}

/// The SIP and DNS names in a certificate.
pub(super) fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let names = certificate.valid_uri_names().chain(certificate.valid_dns_names());
    names.map(str::to_owned).collect()
}

/// Checks a carrier's certificate: its chain as any TLS client does, its name as SIP has it.
#[derive(Debug)]
struct CarrierVerifier {
    roots: Arc<RootCertStore>,
    /// For chains of handshakes: signatures, and the algorithms there are.
    inner: Arc<WebPkiServerVerifier>,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
    allows_wildcard: bool,
}

impl CarrierVerifier {
    fn new(
        roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        allows_wildcard: bool,
    ) -> Result<Self, TlsError> {
        let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| TlsError::File("tls_ca".to_owned(), error.to_string()))?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { roots, inner, algorithms, allows_wildcard })
    }
}

impl ServerCertVerifier for CarrierVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if is_named(end_entity, &certificate, server_name, self.allows_wildcard)? {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// RFC 5922 §7.1, §7.2: the SIP URIs in a certificate say who it is for; DNS names count only where there is none. A
/// name is compared whole. The subject's common name counts for nothing.
fn is_named(
    der: &CertificateDer<'_>,
    certificate: &ParsedCertificate<'_>,
    server_name: &ServerName<'_>,
    allows_wildcard: bool,
) -> Result<bool, rustls::Error> {
    let read = EndEntityCert::try_from(der)
        .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
    let host = server_name.to_str();
    let mut has_sip = false;
    for domain in read.valid_uri_names().filter_map(sip_domain) {
        has_sip = true;
        if domain.eq_ignore_ascii_case(&host) {
            return Ok(true);
        }
    }
    if has_sip {
        return Ok(false);
    }
    match server_name {
        ServerName::DnsName(_) if !allows_wildcard => {
            Ok(read.valid_dns_names().any(|name| name.eq_ignore_ascii_case(&host)))
        }
        _ => Ok(rustls::client::verify_server_name(certificate, server_name).is_ok()),
    }
}

/// The domain of a `sip:` URI without a user part (RFC 5922 §7.1).
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, domain) = uri.split_once(':')?;
    let is_domain = scheme.eq_ignore_ascii_case("sip") && !domain.contains('@');
    let domain = domain.trim_start_matches('[').trim_end_matches(']');
    let end = match domain.parse::<IpAddr>() {
        Ok(_) => domain.len(),
        Err(_) => domain.find([':', ';', '?']).unwrap_or(domain.len()),
    };
    is_domain.then(|| &domain[..end])
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_own(chain: &Path, key: &Path) -> Result<Own, TlsError> {
    let certificates = read_certificates(chain)?;
    let key = fs::read(key).map_err(|error| in_file(key, &error)).and_then(|pem| {
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| in_file(key, &error))
    })?;
    Ok((certificates, key))
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| in_file(path, &error))?;
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(|error| in_file(path, &error))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = read.map_err(|error| in_file(path, &error))?;
    if certificates.is_empty() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate");
        return Err(in_file(path, &error));
    }
    Ok(certificates)
}

fn in_file(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::File(path.display().to_string(), error.to_string())
}
