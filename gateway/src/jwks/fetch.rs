//! Fetches a key set: one request over https, with a bound on all that it may take.

use std::{error::Error, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{task, time};

use crate::{
    auth::{
        jwks::{self, JwksError},
        token::Key,
    },
    config::Secret,
};

/// What a fetch may take, from the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the head of the answer may have, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Where a key set is, and who vouches for that place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) url: String,
    /// The CA's certificate; without one those of the system count.
    pub(super) ca: Option<Secret>,
}

/// Why there is no key set. The words never have anything of the answer's body in them.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("ca.crt of jwks.caSecretName holds no certificate in PEM")]
    Ca,
    #[error("this system has no CA certificates; name one in jwks.caSecretName or SSL_CERT_FILE")]
    NoRoots,
    #[error("jwks.url cannot be asked for")]
    Url(#[from] http::Error),
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
    #[error("no answer")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("the answer is {0}; redirects are not followed, so jwks.url has to be where they lead")]
    Redirect(StatusCode),
    #[error("the answer is {0}, must be 200")]
    Status(StatusCode),
    #[error("the answer broke off")]
    Broken,
    #[error("no whole answer within {} s", TIMEOUT.as_secs())]
    Slow,
    #[error("the answer is of no use: {0}")]
    Useless(#[from] JwksError),
}

/// Fetches the keys. Safe to cancel: the connection ends with the future.
pub(super) async fn fetch(place: Place) -> Result<Vec<Key>, FetchError> {
    time::timeout(TIMEOUT, request(&place)).await.unwrap_or(Err(FetchError::Slow))
}

async fn request(place: &Place) -> Result<Vec<Key>, FetchError> {
    // Read anew each time: the system's certificates change too.
    let tls = client(roots(place.ca.as_ref()).await?)?;
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .build(https.build());
    let request = Request::get(&place.url)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("headgate-gateway/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;

    let answer = client.request(request).await?;
    match answer.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirect(status)),
        status => return Err(FetchError::Status(status)),
    }
    let body = Limited::new(answer.into_body(), jwks::BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => FetchError::Useless(JwksError::Long),
        None => FetchError::Broken,
    })?;
    Ok(jwks::parse(&body.to_bytes())?)
}

fn client(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// The CAs that may vouch for the provider: the one that is named, and else those of the system.
async fn roots(ca: Option<&Secret>) -> Result<RootCertStore, FetchError> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in CertificateDer::pem_slice_iter(ca.bytes()) {
            roots.add(certificate.map_err(|_| FetchError::Ca)?).map_err(|_| FetchError::Ca)?;
        }
        return if roots.is_empty() { Err(FetchError::Ca) } else { Ok(roots) };
    }
    // Files are read, so on a thread that may wait. If it cannot be had, the process ends.
    let loaded = task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    roots.add_parsable_certificates(loaded.map_err(|_| FetchError::NoRoots)?.certs);
    if roots.is_empty() { Err(FetchError::NoRoots) } else { Ok(roots) }
}

/// An error and what lies behind it, in one line.
pub(super) fn chain(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a String never fails.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
