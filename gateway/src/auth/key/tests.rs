use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::auth::signer::{ALGORITHMS, Signer};

fn parse(algorithm: Algorithm, file: impl AsRef<[u8]>) -> Result<(), KeyError> {
    Key::parse(algorithm, None, file.as_ref()).map(drop)
}

fn pem_of(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

#[test]
fn a_secret_has_at_least_the_bytes_of_its_hash() {
    for (algorithm, bytes) in
        [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)]
    {
        assert_eq!(parse(algorithm, vec![b'x'; bytes]), Ok(()));
        assert_eq!(parse(algorithm, vec![b'x'; bytes - 1]), Err(KeyError::Short(bytes)));
    }
}

#[test]
fn a_file_that_others_have_is_no_secret() {
    let pair = Signer::new("RS256");

    assert_eq!(parse(Algorithm::HS256, &pair.file), Err(KeyError::NoSecret));
    assert_eq!(parse(Algorithm::HS256, &pair.private), Err(KeyError::NoSecret));
    assert_eq!(parse(Algorithm::HS256, format!("\n {}", pair.private)), Err(KeyError::NoSecret));
}

#[test]
fn a_private_key_is_refused() {
    for (alg, algorithm) in ALGORITHMS.iter().filter(|(alg, _)| !alg.starts_with('H')) {
        let pair = Signer::new(alg);
        let both = [pair.file.as_slice(), pair.private.as_bytes()].concat();

        assert_eq!(parse(*algorithm, &pair.private), Err(KeyError::Private), "{alg}");
        assert_eq!(parse(*algorithm, both), Err(KeyError::Private), "{alg}");
    }
    let openssl = "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n";
    assert_eq!(parse(Algorithm::ES256, openssl), Err(KeyError::Private));
}

#[test]
fn a_key_of_another_kind_or_curve_is_refused() {
    let kind =
        |alg: &str| alg.replace("PS", "RS")[..if alg.starts_with("ES") { 5 } else { 2 }].to_owned();
    let public = || ALGORITHMS.iter().filter(|(alg, _)| !alg.starts_with('H'));
    for (alg, _) in public() {
        let file = Signer::new(alg).file;
        for (other, algorithm) in public() {
            let expected = if kind(alg) == kind(other) { Ok(()) } else { Err(KeyError::Foreign) };

            assert_eq!(parse(*algorithm, &file), expected, "{alg} as {other}");
        }
    }
}

#[test]
fn an_rsa_key_of_another_size_is_refused() {
    for (bytes, expected) in
        [(128, Err(KeyError::RsaBits(1_024))), (255, Err(KeyError::RsaBits(2_040))), (256, Ok(()))]
    {
        let parts = RsaPublicKeyComponents { n: vec![0xff; bytes], e: vec![1, 0, 1] };
        let der = parts.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).unwrap();

        assert_eq!(parse(Algorithm::RS256, pem_of("PUBLIC KEY", der.as_ref())), expected);
    }
}

#[test]
fn public_keys_come_as_spki_as_pkcs_1_and_in_certificates() {
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let ec = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&ec).unwrap();

    assert_eq!(parse(Algorithm::PS512, pem_of("RSA PUBLIC KEY", rsa.public_key_raw())), Ok(()));
    assert_eq!(parse(Algorithm::ES256, certificate.pem()), Ok(()));
    assert_eq!(parse(Algorithm::ES384, certificate.pem()), Err(KeyError::Foreign));
}

#[test]
fn files_that_are_not_one_public_key_are_refused() {
    let file = String::from_utf8(Signer::new("ES256").file).unwrap();
    let check = |file: &str, expected| {
        assert_eq!(parse(Algorithm::ES256, file), Err(expected), "{file}");
    };

    check("", KeyError::Pem);
    check("junk", KeyError::Pem);
    check(&file.repeat(2), KeyError::Pem);
    check(&file.replace("PUBLIC KEY", "DH PARAMETERS"), KeyError::Pem);
    check(&pem_of("CERTIFICATE", b"junk"), KeyError::Pem);
    check(&pem_of("PUBLIC KEY", b"junk"), KeyError::Foreign);
    check(&pem_of("PUBLIC KEY", b""), KeyError::Foreign);
}

#[test]
fn a_key_has_the_same_name_after_a_reload_and_no_other_has_it() {
    let signer = Signer::new("RS256");
    let id = |key: Key| key.id;

    assert_eq!(id(signer.verifying(Some("a"))), id(signer.verifying(Some("b"))));
    let renamed = id(signer.verifying(None));
    assert_ne!(renamed, id(signer.with_alg("RS512").verifying(None)));
    assert_ne!(renamed, id(Signer::new("RS256").verifying(None)));
}

#[test]
fn a_key_does_not_show_itself() {
    let shown = format!("{:?}", Signer::new("HS256").verifying(Some("kid")));
    assert_eq!(shown, "Key { algorithm: HS256, .. }");
}
