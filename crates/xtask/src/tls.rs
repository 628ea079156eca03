//! Certificates for one run of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::run::Result;

/// An authority, and a server's certificate for this machine signed by it; PEM files.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes both and writes them into a folder.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let (authority, certificate, key) =
            pems().map_err(|error| format!("no certificate could be made: {error}"))?;
        let write = |name: &str, pem: String| {
            let path = folder.join(name);
            fs::write(&path, pem)
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            Ok::<_, String>(path)
        };
        Ok(Self {
            authority: write("ca.pem", authority)?,
            certificate: write("server.pem", certificate)?,
            key: write("server.key", key)?,
        })
    }
}

fn pems() -> std::result::Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Larder test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let server_key = KeyPair::generate()?;
    let server_certificate = server.signed_by(&server_key, &issuer)?;
    Ok((authority_certificate.pem(), server_certificate.pem(), server_key.serialize_pem()))
}
