//! The manifest's text and what this gateway makes of it. Pure.

use headgate_crds::{
    manifest::{self, Finding},
    v1alpha1::RealtimeGatewaySpec,
};
use sha2::{Digest as _, Sha256};

/// A manifest that this gateway can serve, Secrets aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// The first eight hexadecimal digits of the text's SHA-256; the operator computes the same.
    pub hash: String,
    /// `spec`, with the defaults of what is left out.
    pub spec: RealtimeGatewaySpec,
    /// Fields that this version does not know.
    pub warnings: Vec<Finding>,
}

impl Document {
    /// Reads a manifest to serve it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<Finding>> {
        let hash = hash(text);
        let text = utf8(text)?;
        let manifest::Manifest { name, namespace, spec, warnings } = manifest::read(text)?;
        Ok(Self { name, namespace, hash, spec, warnings })
    }
}

/// Everything that is wrong with a manifest, unknown fields as well.
pub fn check(text: &[u8]) -> Vec<Finding> {
    let text = match utf8(text) {
        Ok(text) => text,
        Err(findings) => return findings,
    };
    manifest::check(text)
}

/// Names a manifest's text.
pub fn hash(text: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut hash = String::with_capacity(8);
    for byte in Sha256::digest(text).iter().take(4) {
        // Writing to a String never fails.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

fn utf8(text: &[u8]) -> Result<&str, Vec<Finding>> {
    str::from_utf8(text).map_err(|error| {
        let problem = format!("not UTF-8 at byte {}", error.valid_up_to());
        vec![finding("", &problem, "a manifest is one YAML document in UTF-8")]
    })
}

/// A finding without a line: what is wrong is not in the text.
pub(super) fn finding(path: &str, problem: &str, right: &str) -> Finding {
    Finding {
        path: path.to_owned(),
        line: None,
        column: None,
        value: String::new(),
        problem: problem.to_owned(),
        right: right.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\n\
        metadata: {name: chat}\nspec:\n  auth: {mode: Disabled}\n";

    #[test]
    fn the_hash_is_the_beginning_of_sha256() {
        assert_eq!(hash(b"hello"), "2cf24dba");
        assert_eq!(Document::parse(MANIFEST.as_bytes()).unwrap().hash, hash(MANIFEST.as_bytes()));
    }

    #[test]
    fn bytes_that_are_no_text_are_a_finding() {
        let findings = Document::parse(b"kind: \xff").unwrap_err();

        assert_eq!(findings[0].problem, "not UTF-8 at byte 6");
        assert_eq!(check(b"kind: \xff"), findings);
    }
}
