//! The binary as people run it: what it prints, and how it exits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

const HEAD: &str =
    "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {name: chat}\n";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Files with these contents.
fn files(files: &[(&str, &str)]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.iter().map(|(name, contents)| {
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_headgate-gateway"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Its exit code and what it printed.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_says_that_nothing_is_wrong() {
    let output = run(&["check", "-"], &format!("{HEAD}spec: {{auth: {{mode: Disabled}}}}\n"));

    assert_eq!(said(&output), (0, "-: nothing wrong\n".to_owned(), String::new()));
}

#[test]
fn check_says_everything_that_is_wrong_with_every_manifest() {
    let good = format!("{HEAD}spec: {{auth: {{mode: Disabled}}}}\n");
    let bad = format!("{HEAD}spec:\n  auth: {{mode: Disabled}}\n  maxConnections: 0\n  pth: /ws\n");
    let (_folder, paths) = files(&[("good.yaml", &good), ("bad.yaml", &bad)]);
    let [good, bad] = [&paths[0], &paths[1]].map(|path| path.to_str().unwrap());

    let (code, text, errors) = said(&run(&["check", good, bad], ""));

    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines.len(), errors.as_str()), (65, 3, ""), "{text}");
    assert_eq!(lines[0], format!("{good}: nothing wrong"));
    assert!(lines[1].starts_with(&format!("{bad}: line 6, column ")), "{text}");
    assert!(lines[1].contains("spec.maxConnections is 0"), "{text}");
    assert!(lines[2].contains("spec.pth"), "{text}");
}

#[test]
fn check_prints_findings_for_programs() {
    let manifest = format!("{HEAD}spec:\n  auth: {{mode: Disabled}}\n  maxConnections: 0\n");

    let (code, text, _) = said(&run(&["check", "--output", "json", "-"], &manifest));

    let findings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, findings.as_array().unwrap().len()), (65, 1), "{text}");
    assert_eq!(findings[0]["path"], "spec.maxConnections");
    assert_eq!((&findings[0]["line"], &findings[0]["value"]), (&json!(6), &json!("0")));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (code, _, errors) = said(&run(&["check", "/nowhere.yaml"], ""));

    assert_eq!(code, 66);
    assert!(errors.contains("cannot read /nowhere.yaml: No such file"), "{errors}");
}

#[test]
fn serve_refuses_a_manifest_with_its_findings() {
    let (_folder, paths) = files(&[("gateway.yaml", &format!("{HEAD}spec: {{}}\n"))]);

    let (code, text, errors) = said(&run(&["serve", paths[0].to_str().unwrap()], ""));

    assert_eq!((code, text.as_str()), (65, ""));
    assert!(errors.contains("gateway.yaml: ") && errors.contains("spec.auth"), "{errors}");
}

#[test]
fn wrong_usage_is_told_from_everything_else() {
    for arguments in [&["serve"][..], &["nonsense"], &["check"], &["token", "--user", "a"], &[]] {
        assert_eq!(said(&run(arguments, "")).0, 64, "{arguments:?}");
    }
    let echo = &["serve", "gateway.yaml", "--conformance-echo", "echo"];
    assert_eq!(said(&run(echo, "")).0, 64);
}

#[test]
fn an_argument_that_is_no_good_is_told_what_would_be() {
    let check = |arguments: &[&str], right: &str| {
        let (code, _, errors) = said(&run(arguments, ""));
        assert!(code == 64 && errors.contains(right), "{arguments:?}: {errors}");
    };
    check(&["serve", "a", "--listen", "8080"], "such as 127.0.0.1:8080");
    check(&["serve", "a", "--internal-listen", "localhost:9090"], "such as 127.0.0.1:8080");
    check(&["token", "--secret", "a", "--user", "a", "--expires", "1d"], "such as 15m or 24h");
}

#[test]
fn help_teaches() {
    let (code, text, _) = said(&run(&["--help"], ""));

    assert_eq!(code, 0);
    for word in ["Examples:", "Exit codes:", "Files:", "check", "completions"] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

fn part(token: &str, index: usize) -> Value {
    let part = token.trim().split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_token_says_what_was_asked_for() {
    let (_folder, paths) = files(&[("hmac", SECRET)]);
    let arguments = [
        &["token", "--secret", paths[0].to_str().unwrap(), "--user", "alice", "--kid", "k"][..],
        &["--subscribe", "room.*", "--subscribe", "news.**", "--publish", "room.42"],
        &["--presence", "a", "--history", "b", "--channel", "room.42", "--expires", "90s"],
        &["--info", r#"{"name":"Alice"}"#],
    ];

    let (code, token, errors) = said(&run(&arguments.concat(), ""));

    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(part(&token, 0)["kid"], "k");
    let claims = part(&token, 1);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 90);
    assert_eq!(
        claims["headgate"],
        json!({
            "subscribe": ["room.*", "news.**"], "publish": ["room.42"], "presence": ["a"],
            "history": ["b"], "channels": ["room.42"], "info": {"name": "Alice"},
        })
    );
}

#[test]
fn a_token_takes_the_rest_from_the_manifest() {
    let manifest = format!(
        "{HEAD}spec:\n  auth:\n    jwt:\n      issuer: https://id.example.com\n      audience: chat\n      \
         keysSecretName: chat-jwt\n      keys:\n      - {{algorithm: HS256, key: other, kid: x}}\n      \
         - {{algorithm: HS256, key: hmac, kid: '2026-11'}}\n"
    );
    let (_folder, paths) = files(&[("hmac", SECRET), ("gateway.yaml", &manifest)]);
    let [secret, manifest] = [&paths[0], &paths[1]].map(|path| path.to_str().unwrap());

    let arguments = ["token", "--secret", secret, "--user", "bob", "--manifest", manifest];
    let (code, token, errors) = said(&run(&arguments, ""));

    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(part(&token, 0)["kid"], "2026-11");
    let claims = part(&token, 1);
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("https://id.example.com"), &json!("chat"))
    );
}

#[test]
fn a_token_that_a_gateway_would_refuse_is_not_minted() {
    let (_folder, paths) = files(&[("short", "short"), ("hmac", SECRET)]);
    let [short, secret] = [&paths[0], &paths[1]].map(|path| path.to_str().unwrap());
    let check = |arguments: &[&str], expected: &str| {
        let (code, token, errors) = said(&run(arguments, ""));
        assert_eq!((code, token.as_str()), (64, ""), "{arguments:?}");
        assert!(errors.contains(expected), "{expected} in {errors}");
        assert!(!errors.contains(SECRET), "{errors}");
    };

    check(&["token", "--secret", short, "--user", "a"], "at least 32 bytes");
    check(&["token", "--secret", secret, "--user", ""], "a gateway would refuse it");
    check(&["token", "--secret", secret, "--user", "a", "--channel", "*"], "would refuse it");
    check(&["token", "--secret", secret, "--user", "a", "--subscribe", "a..b"], "--subscribe");
    check(&["token", "--secret", secret, "--user", "a", "--expires", "soon"], "--expires");
    check(&["token", "--secret", secret, "--user", "a", "--info", "{"], "--info");
}

#[test]
fn the_schema_is_one_json_document() {
    let (code, text, _) = said(&run(&["schema"], ""));

    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    assert!(schema["properties"]["spec"]["properties"]["maxConnections"].is_object(), "{text}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, _) = said(&run(&["completions", shell], ""));
        assert!(code == 0 && text.contains("conformance-echo"), "{shell}");
    }
}
