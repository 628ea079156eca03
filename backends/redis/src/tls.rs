use std::path::PathBuf;
use std::sync::Arc;

use larder_core::{Error, ErrorKind, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom to trust and who we are, as the builder collects it.
#[derive(Default)]
pub(crate) struct TlsSettings {
    /// Root certificates in PEM; those of the system where there are none.
    pub(crate) authorities: Vec<Vec<u8>>,
    pub(crate) authority_files: Vec<PathBuf>,
    /// Certificate chain and private key in PEM.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsSettings {
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.authority_files.is_empty() && self.client.is_none()
    }

    /// Makes the client configuration. It reads files, so it runs off the async workers.
    ///
    /// Only the connection's own configuration names a provider: to install one for the process is
    /// the application's choice, and one that it has installed is used.
    pub(crate) fn load(mut self) -> Result<Arc<ClientConfig>> {
        for path in &self.authority_files {
            let pem = std::fs::read(path).map_err(|error| {
                let text = format!("the root certificates in {} cannot be read", path.display());
                Error::new(ErrorKind::InvalidConfig, text).with_source(error)
            })?;
            self.authorities.push(pem);
        }
        let mut roots = RootCertStore::empty();
        for pem in &self.authorities {
            for certificate in certificates(pem, "root")? {
                roots.add(certificate).map_err(|error| {
                    let text = "a root certificate is not valid";
                    Error::new(ErrorKind::InvalidConfig, text).with_source(error)
                })?;
            }
        }
        if self.authorities.is_empty() {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            if roots.is_empty() {
                let text = "this system has no root certificates: name them with `ca_certificate`";
                return Err(Error::new(ErrorKind::InvalidConfig, text));
            }
        }
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        let invalid = |text: &'static str| {
            move |error: rustls::Error| {
                Error::new(ErrorKind::InvalidConfig, text).with_source(error)
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(invalid("the installed crypto provider has no TLS version in common"))?
            .with_root_certificates(roots);
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "client")?;
                // The error may quote the key: it is not attached.
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                    Error::new(ErrorKind::InvalidConfig, "the client key is no private key in PEM")
                })?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(invalid("the client certificate and its key do not fit"))?
            }
        };
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8], whose: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    let invalid = || {
        let text = format!("the {whose} certificate is no certificate in PEM");
        Error::new(ErrorKind::InvalidConfig, text)
    };
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid().with_source(error))?;
    if found.is_empty() { Err(invalid()) } else { Ok(found) }
}

pub(crate) async fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Error::new(ErrorKind::InvalidConfig, "the host is no name that a certificate can have")
    })?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, stream).await.map_err(crate::error::socket)
}
