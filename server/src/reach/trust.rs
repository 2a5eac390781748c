//! Whom connections over TLS trust.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_rustls::TlsConnector;

/// The authorities that Debian and its relatives trust.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why no connection over TLS can be made.
#[derive(Debug, thiserror::Error)]
pub enum NoTrust {
    /// The file of the authorities cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// There is no certificate in it that can be used.
    #[error("{0}: there is no certificate of an authority in it")]
    Empty(PathBuf),
    /// The crypto library refused.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Trusts the authorities in this file; without one, those of the system.
///
/// # Errors
/// [`NoTrust`].
pub fn trusting(ca_file: Option<&Path>) -> Result<TlsConnector, NoTrust> {
    let ca_file = ca_file.unwrap_or(Path::new(SYSTEM_CA_FILE));
    let pem = fs::read(ca_file).map_err(|error| NoTrust::File(ca_file.to_owned(), error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    if roots.is_empty() {
        return Err(NoTrust::Empty(ca_file.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
