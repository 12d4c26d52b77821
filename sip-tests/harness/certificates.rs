//! Certificates for one case: an authority, and one certificate that it has given to everybody on loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

use super::template::Values;

/// Writes them; `{{tls.ca}}`, `{{tls.certificate}}`, `{{tls.key}}`, and `{{tls.both}}` of the last two, stand for the files.
pub(crate) fn write(dir: &Path, values: &mut Values) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Unlike the other's: who has its issuer's name is taken for its own issuer.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "everybody");
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let (ca, certificate, key) = (issuer.pem(), certificate.pem(), key.serialize_pem());
    let both = format!("{certificate}{key}");
    for (name, pem) in [("ca", ca), ("certificate", certificate), ("key", key), ("both", both)] {
        let path = dir.join(format!("{name}.pem"));
        std::fs::write(&path, pem)?;
        values.set(format!("tls.{name}"), path.display());
    }
    Ok(())
}
