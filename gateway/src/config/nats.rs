//! What a gateway shows to NATS, and whom it takes for NATS.

use nkeys::KeyPair;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::secret::Secret;

/// The contents of `broker.nats.credentialsSecretName`.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Who the gateway is.
    pub login: Login,
    /// The CAs that may vouch for the servers; without them those of the system may.
    pub roots: Option<std::sync::Arc<RootCertStore>>,
}

/// How a gateway says who it is.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// It does not.
    #[default]
    Nobody,
    /// By a user's JWT, and the seed of the key that signs for it: `nats.creds`.
    Jwt {
        /// The JWT.
        jwt: String,
        /// The seed.
        seed: Secret,
    },
    /// By `user` and `password`.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By `token`.
    Token(Secret),
}

/// Why credentials cannot be used. The words never quote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// `nats.creds` is not what `nsc` and `nats auth` write.
    #[error("nats.creds must have a user JWT and a user NKEY seed, as nsc writes them")]
    Creds,
    /// A file is no text.
    #[error("{0} must be one line of text, not empty")]
    Line(&'static str),
    /// `ca.crt` holds none.
    #[error("ca.crt holds no certificate in PEM")]
    Ca,
}

/// What a Secret may have in place of `nats.creds`.
pub(super) const INSTEAD: &str = "user and password, or token; ca.crt beside any of them, or alone";

/// The files that belong together, out of those that are there; none where none is.
pub(super) fn files(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut files = if has("nats.creds") {
        vec!["nats.creds"]
    } else if has("user") || has("password") {
        vec!["user", "password"]
    } else if has("token") {
        vec!["token"]
    } else {
        Vec::new()
    };
    if has("ca.crt") {
        files.push("ca.crt");
    }
    files
}

impl Credentials {
    /// Reads what is in files, by their names.
    pub(super) fn parse(files: &[&str], contents: &[Secret]) -> Result<Self, CredentialsError> {
        let file = |name: &str| {
            let at = files.iter().position(|it| *it == name)?;
            contents.get(at)
        };
        let login = if let Some(creds) = file("nats.creds") {
            creds_file(creds)?
        } else if let (Some(user), Some(password)) = (file("user"), file("password")) {
            Login::Password {
                user: line("user", user)?.to_owned(),
                password: Secret::new(line("password", password)?.into()),
            }
        } else if let Some(token) = file("token") {
            Login::Token(Secret::new(line("token", token)?.into()))
        } else {
            Login::Nobody
        };
        let roots = file("ca.crt").map(roots).transpose()?.map(std::sync::Arc::new);
        Ok(Self { login, roots })
    }
}

fn line<'a>(name: &'static str, secret: &'a Secret) -> Result<&'a str, CredentialsError> {
    let text = str::from_utf8(secret.bytes()).map_err(|_| CredentialsError::Line(name))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.contains(['\r', '\n']) {
        return Err(CredentialsError::Line(name));
    }
    Ok(text)
}

/// The two decorated blocks of a creds file.
fn creds_file(creds: &Secret) -> Result<Login, CredentialsError> {
    let text = str::from_utf8(creds.bytes()).map_err(|_| CredentialsError::Creds)?;
    let block = |what: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find(|it| it.starts_with("---") && it.contains("BEGIN") && it.contains(what))?;
        lines.find(|it| !it.is_empty()).filter(|it| !it.starts_with("---"))
    };
    let (Some(jwt), Some(seed)) = (block("JWT"), block("SEED")) else {
        return Err(CredentialsError::Creds);
    };
    KeyPair::from_seed(seed).map_err(|_| CredentialsError::Creds)?;
    Ok(Login::Jwt { jwt: jwt.to_owned(), seed: Secret::new(seed.into()) })
}

fn roots(ca: &Secret) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.bytes()) {
        let certificate = certificate.map_err(|_| CredentialsError::Ca)?;
        roots.add(certificate).map_err(|_| CredentialsError::Ca)?;
    }
    if roots.is_empty() { Err(CredentialsError::Ca) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(contents: &[(&str, &str)], expected: Result<&str, CredentialsError>) {
        let names = files(|name| contents.iter().any(|it| it.0 == name));
        let secrets: Vec<_> = names
            .iter()
            .filter_map(|name| contents.iter().find(|it| it.0 == *name))
            .map(|it| Secret::new(it.1.into()))
            .collect();
        let login = Credentials::parse(&names, &secrets).map(|it| match it.login {
            Login::Nobody => "nobody".to_owned(),
            Login::Jwt { jwt, .. } => format!("jwt {jwt}"),
            Login::Password { user, .. } => format!("user {user}"),
            Login::Token(_) => "token".to_owned(),
        });
        assert_eq!(login, expected.map(str::to_owned), "{contents:?}");
    }

    #[test]
    fn a_secret_has_one_login() {
        let seed = KeyPair::new_user().seed().unwrap();
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\neyJ.a.b\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        check(&[("nats.creds", &creds), ("token", "t")], Ok("jwt eyJ.a.b"));
        check(&[("user", "al\n"), ("password", "secret\n")], Ok("user al"));
        check(&[("token", "t")], Ok("token"));
        check(&[("token", "a\nb")], Err(CredentialsError::Line("token")));
        check(&[("nats.creds", "hello")], Err(CredentialsError::Creds));
        check(&[("ca.crt", "hello")], Err(CredentialsError::Ca));
    }
}
