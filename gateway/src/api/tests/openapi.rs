//! `openapi.json` says what there is, no more and no less, and its examples are true.

use std::collections::BTreeSet;

use super::super::{
    gateway::Target,
    route::{ApiRoute, Read, Route},
};
use super::*;
use crate::protocol::channel::ChannelInvalid;

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// What `$ref` stands for.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(pointer) = value["$ref"].as_str() else { return value };
    let found = document.pointer(pointer.strip_prefix('#').unwrap());
    found.unwrap_or_else(|| panic!("{pointer} leads nowhere"))
}

/// One operation of the document.
struct Described<'a> {
    method: String,
    template: &'a str,
    /// The template with the examples of its parameters.
    target: String,
    operation: &'a Value,
}

fn described(document: &Value) -> Vec<Described<'_>> {
    let mut all = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        let mut target = template.clone();
        for parameter in item["parameters"].as_array().into_iter().flatten() {
            let parameter = resolved(document, parameter);
            let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
            target = target.replace(&place, parameter["example"].as_str().unwrap());
        }
        for (method, operation) in item.as_object().unwrap() {
            if method != "parameters" {
                let method = method.to_uppercase();
                all.push(Described { method, template, target: target.clone(), operation });
            }
        }
    }
    all
}

/// What stands in the document for a route; without a wildcard, so that none is forgotten.
fn template(route: &Route) -> &'static str {
    match route {
        Route::Livez => "GET /livez",
        Route::Readyz => "GET /readyz",
        Route::Metrics => "GET /metrics",
        Route::Status => "GET /status",
        Route::OpenApi => "GET /api/v1/openapi.json",
        Route::Api(route) => match route {
            ApiRoute::Publish => "POST /api/v1/publish",
            ApiRoute::Broadcast => "POST /api/v1/broadcast",
            ApiRoute::Message(Target::User(_)) => "POST /api/v1/users/{user}/messages",
            ApiRoute::Message(Target::Connection(_)) => {
                "POST /api/v1/connections/{connection}/messages"
            }
            ApiRoute::Disconnect(Target::User(_)) => "POST /api/v1/users/{user}/disconnect",
            ApiRoute::Disconnect(Target::Connection(_)) => {
                "POST /api/v1/connections/{connection}/disconnect"
            }
            ApiRoute::Subscribe(_) => "POST /api/v1/users/{user}/subscribe",
            ApiRoute::Unsubscribe(_) => "POST /api/v1/users/{user}/unsubscribe",
            ApiRoute::Revoke => "POST /api/v1/revocations",
            ApiRoute::Batch => "POST /api/v1/batch",
            ApiRoute::Read(read) => match read {
                Read::Stats => "GET /api/v1/stats",
                Read::Connections => "GET /api/v1/connections",
                Read::Channels => "GET /api/v1/channels",
                Read::Presence(_) => "GET /api/v1/channels/{channel}/presence",
                Read::History(_) => "GET /api/v1/channels/{channel}/history",
            },
        },
    }
}

/// As many as [`template`] has.
const ROUTES: usize = 20;

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let mut found = BTreeSet::new();
    for it in described(&document) {
        let method = Method::from_bytes(it.method.as_bytes()).unwrap();
        let route = Route::parse(&method, &it.target).unwrap();
        assert_eq!(format!("{} {}", it.method, it.template), template(&route));
        found.insert(template(&route));
    }
    assert_eq!(found.len(), ROUTES, "{found:#?}");
}

/// Every refusal once; without a wildcard, so that none is forgotten.
fn after(error: &ApiError) -> Option<ApiError> {
    Some(match error {
        ApiError::Invalid(_) => ChannelInvalid::Control.into(),
        ApiError::Channel(_) => ApiError::Unauthorized,
        ApiError::Unauthorized => ApiError::Off,
        ApiError::Off => ApiError::NotFound("path"),
        ApiError::NotFound(_) => ApiError::NoRule("a".to_owned()),
        ApiError::NoRule(_) => ApiError::Method("POST"),
        ApiError::Method(_) => ApiError::Timeout,
        ApiError::Timeout => ApiError::EpochChanged,
        ApiError::EpochChanged => ApiError::TooLarge { what: "data", bytes_max: 1 },
        ApiError::TooLarge { .. } => ApiError::Encoding,
        ApiError::Encoding => ApiError::Full("full"),
        ApiError::Full(_) => ApiError::silent(),
        ApiError::Unavailable(_) => ApiError::Internal("a defect".to_owned()),
        ApiError::Internal(_) => return None,
    })
}

fn errors() -> impl Iterator<Item = ApiError> {
    std::iter::successors(Some(ApiError::Invalid("no".to_owned())), after)
}

/// The codes that a schema of a refusal allows.
fn codes(schema: &Value) -> Vec<&str> {
    let code = &schema["properties"]["error"]["properties"]["code"];
    let codes = code["enum"].as_array().map_or(std::slice::from_ref(&code["const"]), Vec::as_slice);
    codes.iter().map(|code| code.as_str().unwrap()).collect()
}

#[test]
fn every_code_of_a_refusal_is_described_with_its_status() {
    let document = document();
    let all: BTreeSet<_> =
        codes(&document["components"]["schemas"]["Refusal"]).into_iter().collect();
    assert_eq!(all, errors().map(|error| error.code()).collect());

    let mut described_in_answers = BTreeSet::new();
    for it in described(&document) {
        for (status, answer) in it.operation["responses"].as_object().unwrap() {
            let schema = &resolved(&document, answer)["content"]["application/json"]["schema"];
            if schema["allOf"].is_array() {
                let with = |code: &str| format!("{status} {code}");
                described_in_answers.extend(codes(schema).into_iter().map(with));
            }
        }
    }
    let expected: BTreeSet<_> = errors()
        // An operation of the document never has another method than its own.
        .filter(|error| !matches!(error, ApiError::Method(_)))
        .map(|error| format!("{} {}", error.status().as_u16(), error.code()))
        .collect();
    assert_eq!(described_in_answers, expected);
}

/// The examples of a body or an answer: what for, of which kind, and which text.
fn examples(document: &Value, of: &Value) -> Vec<(String, String)> {
    let content = resolved(document, of)["content"].as_object().into_iter().flatten();
    let mut all = Vec::new();
    for (kind, media) in content {
        for (name, example) in media["examples"].as_object().into_iter().flatten() {
            let value = &example["value"];
            let is_text = kind == "application/x-ndjson";
            let text = if is_text { value.as_str().unwrap().to_owned() } else { value.to_string() };
            all.push((name.clone(), text));
        }
    }
    all
}

async fn check_example(it: &Described<'_>, body: &str, expected: &str) {
    let request = request(&it.method, &it.target, body);

    let answer = Internal::new(Fake::default().into()).answer(request).await;

    let (status, found) = (answer.status(), text(answer).await);
    let parsed = |text: &str| -> Vec<Value> {
        let values = serde_json::Deserializer::from_str(text).into_iter();
        values.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(status, StatusCode::OK, "{} {body}: {found}", it.template);
    assert_eq!(parsed(&found), parsed(expected), "{} {body}", it.template);
}

#[tokio::test]
async fn every_example_is_accepted_and_answered_as_described() {
    let document = document();
    for it in described(&document) {
        let answers = examples(&document, &it.operation["responses"]["200"]);
        let bodies = examples(&document, &it.operation["requestBody"]);
        if it.method == "GET" {
            for (_, answer) in &answers {
                check_example(&it, "", answer).await;
            }
            continue;
        }
        assert!(!bodies.is_empty(), "{} has no example", it.template);
        for (name, body) in bodies {
            // An answer of one example is an answer to all of them.
            let answer = answers.iter().find(|(it, _)| *it == name).unwrap_or(&answers[0]);
            check_example(&it, &body, &answer.1).await;
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_part_is_used() {
    fn collect<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|it| collect(it, found));
            }
            Value::Array(list) => list.iter().for_each(|it| collect(it, found)),
            _ => {}
        }
    }
    let document = document();
    let mut used = BTreeSet::new();
    collect(&document, &mut used);
    let there: BTreeSet<String> = document["components"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(kind, _)| *kind != "securitySchemes")
        .flat_map(|(kind, parts)| {
            let names = parts.as_object().unwrap().keys();
            names.map(move |name| format!("#/components/{kind}/{name}"))
        })
        .collect();
    assert_eq!(used, there.iter().map(String::as_str).collect());
}
