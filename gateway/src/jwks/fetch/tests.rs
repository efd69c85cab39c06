use std::process::Command;

use serde_json::json;

use super::*;
use crate::{
    auth::signer::Signer,
    jwks::provider::{Answer, Provider},
};

/// Why a fetch from this provider fails.
async fn failure(provider: &Provider, ca: &str) -> String {
    let place = Place { url: provider.url.clone(), ca: Some(Secret::new(ca.into())) };
    chain(&fetch(place).await.unwrap_err())
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_is_refused_in_words_that_help() {
    let raw = |text: &str| Answer::Raw(text.to_owned());
    let useless = "the answer is of no use: it is ";
    for (answer, expected) in [
        (
            raw("HTTP/1.1 500 Oh\r\n\r\nhunter2"),
            "the answer is 500 Internal Server Error, must be 200",
        ),
        (raw("HTTP/1.1 204 No\r\n\r\n"), "the answer is 204 No Content, must be 200"),
        (
            raw(
                "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            ),
            "the answer is 302 Found; redirects are not followed, so jwks.url has to be where they lead",
        ),
        (raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"keys\""), "the answer broke off"),
        (raw("HTTP/1.1 200 OK\r\n\r\nhunter2"), useless),
        (Answer::Flood, "the answer is of no use: it is longer than 65536 bytes"),
        (raw("hunter2"), "no answer: "),
        (raw(""), "no answer: "),
    ] {
        let provider = Provider::start(answer.clone()).await;

        let error = failure(&provider, &provider.ca).await;

        assert!(error.starts_with(expected), "{answer:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_may_take_5_s() {
    let (drip, silence) =
        tokio::join!(Provider::start(Answer::Drip), Provider::start(Answer::Silence));
    let start = time::Instant::now();

    let failures = tokio::join!(failure(&drip, &drip.ca), failure(&silence, &silence.ca));

    assert_eq!(failures.0, "no whole answer within 5 s");
    assert_eq!(failures.1, "no whole answer within 5 s");
    assert!((5..10).contains(&start.elapsed().as_secs()));
}

#[tokio::test]
async fn a_server_that_the_ca_does_not_vouch_for_is_refused() {
    let provider = Provider::start(Answer::Set(Vec::new())).await;
    let other = Provider::start(Answer::Silence).await;

    let error = failure(&provider, &other.ca).await;

    assert!(
        error.starts_with("no answer: ") && error.contains("invalid peer certificate"),
        "{error}"
    );
    let no_pem = "ca.crt of jwks.caSecretName holds no certificate in PEM";
    assert_eq!(failure(&provider, "junk").await, no_pem);
    assert_eq!(provider.requests(), 0);
}

#[tokio::test]
async fn only_https_is_asked() {
    let provider = Provider::start(Answer::Set(Vec::new())).await;
    let url = provider.url.replace("https:", "http:");

    let error = fetch(Place { url, ca: Some(Secret::new(provider.ca.clone().into())) }).await;

    let error = chain(&error.unwrap_err());
    assert!(error.contains("unsupported scheme http"), "{error}");
    assert_eq!(provider.requests(), 0);
}

#[tokio::test]
async fn the_certificates_of_ssl_cert_file_count() {
    let provider = Provider::start(Answer::Set(vec![Signer::new("ES256").jwk(&json!({}))])).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &provider.ca).unwrap();
    let run = |ca: &std::path::Path| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "jwks::fetch::tests::fetched_by_a_child", "--ignored"]);
        child.env("SSL_CERT_FILE", ca).env("HEADGATE_TEST_URL", &provider.url);
        tokio::task::spawn_blocking(move || child.output().unwrap())
    };

    let output = run(file.path()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();

    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
#[ignore = "run by `the_certificates_of_ssl_cert_file_count`, with an environment of its own"]
async fn fetched_by_a_child() {
    let url = std::env::var("HEADGATE_TEST_URL").unwrap();

    assert_eq!(fetch(Place { url, ca: None }).await.unwrap().len(), 1);
}
