//! TLS for the public port: 1.2 and 1.3, and HTTP/1.1 alone.
//!
//! A connection keeps the settings it was accepted with; a new certificate is for new ones.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// What is served, and until when.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The settings for new connections.
    pub server: Arc<ServerConfig>,
    /// When the certificate expires, in seconds since 1970.
    pub not_after: i64,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `tls.crt` holds none.
    #[error("tls.crt holds no certificate in PEM")]
    NoCertificate,
    /// `tls.crt` holds something else between the lines that begin and end a certificate.
    #[error("tls.crt is broken: {0}")]
    Certificate(String),
    /// `tls.key` holds none.
    #[error("tls.key holds no private key in PEM")]
    NoKey,
    /// The key is not the certificate's.
    #[error("tls.key is not the key of the first certificate in tls.crt")]
    Mismatch,
    /// The two are of a kind that TLS cannot use.
    #[error("tls.crt and tls.key cannot be used: {0}")]
    Unusable(String),
}

impl Tls {
    /// Reads a certificate chain, the leaf first, and its key, both in PEM.
    ///
    /// An expired certificate is served all the same: the clock may be wrong, and a metric says so.
    pub fn parse(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        let not_after = not_after(leaf)?;
        // The error of the parser could quote the file.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
        let server = Arc::new(server(chain, key)?);
        Ok(Self { server, not_after })
    }
}

fn not_after(leaf: &CertificateDer<'_>) -> Result<i64, TlsError> {
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    Ok(leaf.validity().not_after.timestamp())
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let unusable = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
        error => TlsError::Unusable(error.to_string()),
    };
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Clients that come back after a restart of their network resume without a signature of ours.
    server.ticketer = Ticketer::new().map_err(unusable)?;
    Ok(server)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, generate_simple_self_signed};

    use super::*;

    fn pair() -> (String, String) {
        let it = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (it.cert.pem(), it.signing_key.serialize_pem())
    }

    fn check(chain: &str, key: &str, expected: &str) {
        let error = Tls::parse(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_pair_is_served_over_http_1_alone() {
        let (chain, key) = pair();

        let tls = Tls::parse(chain.as_bytes(), key.as_bytes()).unwrap();

        assert_eq!(tls.server.alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn the_end_of_the_certificate_is_known() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let chain = params.self_signed(&key).unwrap().pem();

        let tls = Tls::parse(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();

        assert_eq!(tls.not_after, 1_927_843_200);
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_the_file_that_is_wrong() {
        let (chain, key) = pair();
        let (other_chain, _) = pair();

        check("", &key, "tls.crt holds no certificate in PEM");
        check(&key, &key, "tls.crt holds no certificate in PEM");
        check(&chain, "", "tls.key holds no private key in PEM");
        check(&chain, &chain, "tls.key holds no private key in PEM");
        check(&other_chain, &key, "tls.key is not the key of the first certificate in tls.crt");
    }

    #[test]
    fn an_error_quotes_nothing_of_the_key() {
        let (chain, key) = pair();
        let broken = key.replace('M', "!");

        let error = Tls::parse(chain.as_bytes(), broken.as_bytes()).unwrap_err();

        assert!(format!("{error} {error:?}").len() < 60, "{error:?}");
    }
}
