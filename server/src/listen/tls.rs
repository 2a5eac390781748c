//! TLS from PEM files that may change under us.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use super::Stop;

/// How often the files are looked at.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// The most bytes of a file that are read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The certificate file is no PEM.
    #[error("{path}: {cause}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: rustls::pki_types::pem::Error,
    },
    /// The key file has no key. What is wrong with it is not told: that would quote it.
    #[error("{0}: there is no PEM private key in it")]
    NoKey(PathBuf),
    /// The certificate file has no certificate.
    #[error("{0}: there is no certificate in it")]
    Empty(PathBuf),
    /// Key and certificate do not work together.
    #[error("the certificate and the key do not go together: {0}")]
    Pair(rustls::Error),
}

/// The certificate that is shown to clients, and the files it comes from.
pub struct Certificates {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate_file", &self.certificate_file)
            .field("key_file", &self.key_file)
            .finish_non_exhaustive()
    }
}

/// What tells that files have changed: their time and length, also behind links that are exchanged.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Certificates {
    /// Reads the certificate chain and its key.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn open(certificate_file: &Path, key_file: &Path) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = pair(certificate_file, key_file, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(pair))));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Self {
            certificate_file: certificate_file.to_owned(),
            key_file: key_file.to_owned(),
            current,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }))
    }

    pub(super) const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Reads the files again. After an error the certificate stays as it was.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn reload(&self) -> Result<(), TlsError> {
        let pair = pair(&self.certificate_file, &self.key_file, &aws_lc_rs::default_provider())?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        Ok(())
    }

    /// Reads the files again when they change, and at SIGHUP, until `stop`.
    pub async fn watch(&self, stop: Stop) {
        self.watch_every(POLL_EVERY, stop).await;
    }

    pub(super) async fn watch_every(&self, every: Duration, mut stop: Stop) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut poll = tokio::time::interval(every);
        let mut seen = self.stamp();
        loop {
            let asked = tokio::select! {
                () = stop.wait() => return,
                _ = poll.tick() => false,
                () = next(&mut hangup) => true,
            };
            let stamp = self.stamp();
            if asked || stamp != seen {
                seen = stamp;
                match self.reload() {
                    Ok(()) => tracing::info!("the TLS certificate was read again"),
                    // Of two files one is written first: the next look may find both.
                    Err(error) => tracing::warn!(%error, "the TLS certificate stays as it was"),
                }
            }
        }
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate_file, &self.key_file].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }
}

async fn next(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn pair(
    certificate_file: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let pem = |cause| TlsError::Pem { path: certificate_file.to_owned(), cause };
    let text = bytes(certificate_file)?;
    let chain =
        CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(pem)?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate_file.to_owned()));
    }
    let key = zeroize::Zeroizing::new(bytes(key_file)?);
    let key =
        PrivateKeyDer::from_pem_slice(&key).map_err(|_| TlsError::NoKey(key_file.to_owned()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = |cause| TlsError::File { path: path.to_owned(), cause };
    if fs::metadata(path).map_err(file)?.len() > FILE_BYTES_MAX {
        return Err(file(io::Error::other("the file is over 1 MiB")));
    }
    fs::read(path).map_err(file)
}
