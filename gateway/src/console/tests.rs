//! Who sees the console, and what those see who may.

use http::{Method, Request};

use super::*;

const PEER: &str = "127.0.0.1:50000";

fn console() -> Console {
    Console::new("127.0.0.1:9090".parse().unwrap()).unwrap()
}

/// A request by a browser on this machine; each test changes one thing.
struct Ask {
    method: Method,
    target: String,
    hosts: Vec<&'static str>,
    sites: Vec<&'static str>,
    peer: &'static str,
}

impl Ask {
    fn new(console: &Console, name: &str) -> Self {
        let target = format!("{}{name}", console.url().strip_prefix(console.origin()).unwrap());
        Self {
            method: Method::GET,
            target,
            hosts: vec!["127.0.0.1:9090"],
            sites: vec![],
            peer: PEER,
        }
    }
}

fn check(console: &Console, ask: Ask, expected: Option<Asked>) {
    let Ask { method, target, hosts, sites, peer } = ask;
    let said = format!("{method} {target} from {peer}, Host {hosts:?}, Sec-Fetch-Site {sites:?}");
    let mut request = Request::builder().method(method).uri(target);
    for host in hosts {
        request = request.header(header::HOST, host);
    }
    for site in sites {
        request = request.header("sec-fetch-site", site);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();

    assert_eq!(console.asked(&parts, peer.parse().unwrap()), expected, "{said}");
}

#[test]
fn the_page_is_served_only_where_nobody_else_can_reach_it() {
    for address in ["127.0.0.1:9090", "127.8.8.8:1", "[::1]:9090"] {
        assert!(Console::new(address.parse().unwrap()).is_ok(), "{address}");
    }
    for address in ["0.0.0.0:9090", "[::]:9090", "198.18.0.1:9090", "[::ffff:198.18.0.1]:9090"] {
        let refused = Console::new(address.parse().unwrap());
        assert!(matches!(refused, Err(ConsoleError::NotLoopback(_))), "{address}");
    }
}

#[test]
fn every_file_and_the_data_have_a_path() {
    let console = console();
    for (name, expected) in [
        ("", Some(Asked::File(File::Page))),
        ("page.js", Some(Asked::File(File::Script))),
        ("page.css", Some(Asked::File(File::Style))),
        ("data", Some(Asked::Data)),
        ("?utm=1", Some(Asked::File(File::Page))),
        ("page.html", None),
        ("../data", None),
        ("data/", None),
        ("%64ata", None),
    ] {
        check(&console, Ask::new(&console, name), expected);
    }
}

#[test]
fn only_the_key_opens_it() {
    let console = console();
    let key = console.url().split('/').nth(4).unwrap().to_owned();
    let other = Console::new("127.0.0.1:9090".parse().unwrap()).unwrap().url();
    let other = other.split('/').nth(4).unwrap();
    for target in [
        format!("/console/{other}/data"),
        format!("/console/{}/data", &key[1..]),
        format!("/console/{key}A/data"),
        format!("/console/{key}"),
        format!("/console//{key}/data"),
        format!("/Console/{key}/data"),
        format!("/{key}/data"),
        "/console//data".to_owned(),
        "/console/".to_owned(),
        "/console".to_owned(),
        "/".to_owned(),
        format!("http://127.0.0.1:9090/console/{key}/data"),
    ] {
        check(&console, Ask { target, ..Ask::new(&console, "") }, None);
    }
}

#[test]
fn only_get_is_answered() {
    let console = console();
    for method in [Method::HEAD, Method::POST, Method::OPTIONS, Method::PUT, Method::CONNECT] {
        check(&console, Ask { method, ..Ask::new(&console, "data") }, None);
    }
}

#[test]
fn only_a_loopback_peer_is_answered() {
    let console = console();
    let seen = Some(Asked::Data);
    for (peer, expected) in [
        ("127.0.0.1:1", seen),
        ("127.9.9.9:1", seen),
        ("[::1]:1", seen),
        ("[::ffff:127.0.0.1]:1", seen),
        ("198.18.0.1:1", None),
        ("10.0.0.1:1", None),
        ("[fd00::1]:1", None),
        ("[::ffff:10.0.0.1]:1", None),
    ] {
        check(&console, Ask { peer, ..Ask::new(&console, "data") }, expected);
    }
}

#[test]
fn only_a_loopback_host_is_answered_and_sent_to_the_pages_own() {
    let console = console();
    let own = Some(Asked::File(File::Page));
    let elsewhere = Some(Asked::Elsewhere);
    for (host, expected) in [
        ("127.0.0.1:9090", own),
        ("127.0.0.2:9090", elsewhere),
        ("localhost:9090", elsewhere),
        ("LocalHost:9090", elsewhere),
        ("[::1]:9090", elsewhere),
        ("localhost.evil.com:9090", None),
        ("127.0.0.1.evil.com:9090", None),
        ("evil.com:9090", None),
        ("evil.localhost:9090", None),
        ("localhost.:9090", None),
        ("127.1:9090", None),
        ("2130706433:9090", None),
        ("0.0.0.0:9090", None),
        ("[::ffff:127.0.0.1]:9090", None),
        ("::1:9090", None),
        ("127.0.0.1", None),
        ("127.0.0.1:", None),
        ("127.0.0.1:9091", None),
        ("127.0.0.1:09090", None),
        ("127.0.0.1:9090:9090", None),
        ("user@127.0.0.1:9090", None),
        ("127.0.0.1:9090 ", None),
        ("[::1]", None),
        ("", None),
        (":9090", None),
    ] {
        check(&console, Ask { hosts: vec![host], ..Ask::new(&console, "") }, expected);
        let data = expected.filter(|it| *it == Asked::File(File::Page)).map(|_| Asked::Data);
        check(&console, Ask { hosts: vec![host], ..Ask::new(&console, "data") }, data);
    }
    for hosts in [vec![], vec!["127.0.0.1:9090", "127.0.0.1:9090"]] {
        check(&console, Ask { hosts, ..Ask::new(&console, "") }, None);
    }
}

#[test]
fn only_the_page_itself_or_the_person_may_ask() {
    let console = console();
    let page = Some(Asked::File(File::Page));
    let script = Some(Asked::File(File::Script));
    let data = Some(Asked::Data);
    for (sites, page, script, data) in [
        (vec![], page, script, data),
        (vec!["same-origin"], page, script, data),
        (vec!["none"], page, None, None),
        (vec!["same-site"], None, None, None),
        (vec!["cross-site"], None, None, None),
        (vec!["Same-Origin"], None, None, None),
        (vec!["same-origin", "cross-site"], None, None, None),
    ] {
        for (name, expected) in [("", page), ("page.js", script), ("data", data)] {
            check(&console, Ask { sites: sites.clone(), ..Ask::new(&console, name) }, expected);
        }
    }
}

#[test]
fn the_address_is_what_a_browser_makes_of_it() {
    for (internal, origin) in [
        ("127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("[::1]:9090", "http://[::1]:9090"),
        ("[::1]:80", "http://[::1]"),
    ] {
        let console = Console::new(internal.parse().unwrap()).unwrap();
        assert_eq!(console.origin(), origin);
        let host = origin.strip_prefix("http://").unwrap();
        check(
            &console,
            Ask { hosts: vec![host], ..Ask::new(&console, "") },
            Some(Asked::File(File::Page)),
        );
    }
}

#[test]
fn who_came_by_another_name_is_sent_to_the_page() {
    let console = console();

    let answer = console.moved();

    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(answer.headers()[header::LOCATION], *console.url());
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
}

#[test]
fn the_data_has_a_token_that_this_process_takes() {
    let console = console();

    let answer = console.data(&data::tests::figures(1), "ws://127.0.0.1:8080/ws", 1_000).unwrap();

    let value: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    let token = value["token"].as_str().unwrap();
    assert!(console.verifier().unwrap().verify(token, 1_000).is_ok());
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
}

#[test]
fn nothing_secret_is_printed() {
    let console = console();

    let printed = format!("{console:?} {console:#?}");

    assert!(!printed.contains(console.url().split('/').nth(4).unwrap()), "{printed}");
    assert!(printed.contains("Pass(..)"), "{printed}");
}
