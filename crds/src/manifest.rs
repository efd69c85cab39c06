//! Reads a manifest and says everything that is wrong with it.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    rules,
    v1alpha1::{API_VERSION, KIND, RealtimeGatewaySpec},
};

/// The largest manifest, in bytes.
pub const BYTES_MAX: usize = 1 << 20;

/// Something wrong at one place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, as `spec.limits.messageRate.burst`.
    pub path: String,
    /// What is there, cut short.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, value, problem, right } = self;
        write!(f, "{path}")?;
        if !value.is_empty() {
            write!(f, " is {}, which", shorten(value))?;
        }
        write!(f, " {problem}; right would be: {right}")
    }
}

fn shorten(text: &str) -> &str {
    text.get(..text.floor_char_boundary(80)).unwrap_or(text)
}

/// A manifest that can be served.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` where there is none.
    pub namespace: String,
    /// What the gateway does.
    pub spec: RealtimeGatewaySpec,
    /// What is unknown and ignored.
    pub warnings: Vec<Finding>,
}

/// Reads a manifest; unknown fields are warnings, since an older gateway may meet a newer one.
///
/// # Errors
///
/// Everything else that is wrong, at once.
pub fn read(text: &str) -> Result<Manifest, Vec<Finding>> {
    let document = parse(text).map_err(|finding| vec![finding])?;
    let mut unknown = Vec::new();
    let mut wrong = head(&document);
    let Some(spec) = document.get("spec") else {
        wrong.push(finding("spec", "", "is missing", "spec with auth"));
        return Err(wrong);
    };
    shape(&crate::schema(), spec, "spec", &mut wrong, &mut unknown);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let spec: RealtimeGatewaySpec = serde_json::from_value(spec.clone()).map_err(|error| {
        vec![finding("spec", "", &error.to_string(), "see docs/configuration.md")]
    })?;
    let wrong = rules::check(&spec);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let meta = |name: &str| document.get("metadata").and_then(|it| it.get(name)?.as_str());
    Ok(Manifest {
        name: meta("name").unwrap_or_default().to_owned(),
        namespace: meta("namespace").unwrap_or("default").to_owned(),
        spec,
        warnings: unknown,
    })
}

/// Everything that is wrong with a manifest, unknown fields too.
pub fn check(text: &str) -> Vec<Finding> {
    match read(text) {
        Ok(manifest) => manifest.warnings,
        Err(mut wrong) => {
            if let Ok(document) = parse(text)
                && let Some(spec) = document.get("spec")
            {
                let mut unknown = Vec::new();
                shape(&crate::schema(), spec, "spec", &mut Vec::new(), &mut unknown);
                wrong.extend(unknown);
            }
            wrong
        }
    }
}

fn finding(path: &str, value: &str, problem: &str, right: &str) -> Finding {
    Finding {
        path: path.to_owned(),
        value: shorten(value).to_owned(),
        problem: problem.to_owned(),
        right: right.to_owned(),
    }
}

fn parse(text: &str) -> Result<Value, Finding> {
    if text.len() > BYTES_MAX {
        return Err(finding("manifest", "", "is too large", "at most 1 MiB"));
    }
    // The parser names line and column.
    serde_saphyr::from_str::<Value>(text)
        .map_err(|error| finding("manifest", "", &error.to_string(), "one YAML document"))
}

fn head(document: &Value) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    for (name, right) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        if text(name) != right {
            wrong.push(finding(name, text(name), "is not this resource's", right));
        }
    }
    let name = document.get("metadata").and_then(|it| it.get("name")?.as_str()).unwrap_or_default();
    let is_label = (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    if !is_label {
        let right = "a DNS label of at most 40 characters that begins with a letter";
        wrong.push(finding("metadata.name", name, "is no name of a gateway", right));
    }
    wrong
}

/// Compares a value with its schema; what is not in the schema goes to `unknown`.
fn shape(
    schema: &Value,
    value: &Value,
    path: &str,
    wrong: &mut Vec<Finding>,
    unknown: &mut Vec<Finding>,
) {
    let empty = Map::new();
    let shown = match value {
        Value::Object(_) | Value::Array(_) => String::new(),
        value => value.to_string(),
    };
    if let Some(one_of) = schema.get("oneOf").or(schema.get("enum")).and_then(Value::as_array) {
        let names: Vec<_> =
            one_of.iter().filter_map(|it| it.get("const").or(Some(it))?.as_str()).collect();
        if !value.as_str().is_some_and(|it| names.contains(&it)) {
            wrong.push(finding(path, &shown, "is none of the choices", &names.join(", ")));
        }
        return;
    }
    let any_of = schema.get("anyOf").and_then(Value::as_array);
    if let Some(inner) = any_of.filter(|_| schema.get("x-kubernetes-int-or-string").is_none()) {
        // Optional fields: the schema, or null.
        if let (false, Some(inner)) = (value.is_null(), inner.first()) {
            shape(inner, value, path, wrong, unknown);
        }
        return;
    }
    let kinds = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec!["integer", "string"],
    };
    if !kinds.iter().any(|kind| is_kind(value, kind)) {
        wrong.push(finding(path, &shown, "is of another type", &kinds.join(" or ")));
        return;
    }
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
            let is_open = schema.get("properties").is_none();
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(schema) => shape(schema, value, &path, wrong, unknown),
                    None if is_open => {}
                    None => unknown.push(finding(&path, "", "is unknown", &nearest(name, known))),
                }
            }
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                let name = name.as_str().unwrap_or_default();
                if !fields.contains_key(name) {
                    wrong.push(finding(&format!("{path}.{name}"), "", "is missing", "a value"));
                }
            }
        }
        Value::Array(items) => {
            bound(schema, "maxItems", items.len() as f64, path, &shown, wrong);
            for (i, item) in items.iter().enumerate() {
                let schema = schema.get("items").unwrap_or(&Value::Null);
                shape(schema, item, &format!("{path}[{i}]"), wrong, unknown);
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            bound(schema, "maximum", number, path, &shown, wrong);
            bound(schema, "minimum", -number, path, &shown, wrong);
        }
        Value::String(text) => {
            bound(schema, "maxLength", text.chars().count() as f64, path, &shown, wrong);
            bound(schema, "minLength", -(text.chars().count() as f64), path, &shown, wrong);
            if let Some(problem) = parses(schema, text, path) {
                wrong.push(problem);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Values of our own say themselves what is wrong with them.
fn parses(schema: &Value, text: &str, path: &str) -> Option<Finding> {
    use crate::value::{ChannelPattern, Cidr, Duration, OriginPattern, Size};
    let error = if schema.get("pattern").is_some() {
        text.parse::<Duration>().err()
    } else if schema.get("x-kubernetes-int-or-string").is_some() {
        text.parse::<Size>().err()
    } else if path.ends_with(".match") {
        text.parse::<ChannelPattern>().err()
    } else if path.contains(".allowedOrigins[") {
        text.parse::<OriginPattern>().err()
    } else if path.contains(".trustedProxies[") {
        text.parse::<Cidr>().err()
    } else {
        None
    }?;
    let message = error.to_string();
    let right = message.split_once(" is not ").map_or("", |(_, right)| right);
    Some(finding(path, text, "is not valid", right))
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// A bound of the schema; for minima both sides are negated.
fn bound(
    schema: &Value,
    name: &str,
    measured: f64,
    path: &str,
    shown: &str,
    wrong: &mut Vec<Finding>,
) {
    let Some(limit) = schema.get(name).and_then(Value::as_f64) else { return };
    let is_minimum = name.starts_with("min");
    if measured > if is_minimum { -limit } else { limit } {
        let right = format!("{} {limit}", if is_minimum { "at least" } else { "at most" });
        wrong.push(finding(path, shown, "is out of bounds", &right));
    }
}

/// The known name that is most like an unknown one.
fn nearest(name: &str, known: &Map<String, Value>) -> String {
    let name = name.to_lowercase();
    let likeness = |it: &&String| {
        it.to_lowercase().bytes().zip(name.bytes()).filter(|(a, b)| a == b).count()
    };
    let near = known.keys().max_by_key(likeness);
    near.map_or_else(String::new, |it| format!("one of the fields here, perhaps {it}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1alpha1::RealtimeGatewaySpec;

    fn manifest(spec: &str) -> String {
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: chat}}\nspec:\n{spec}"
        )
    }

    const OPEN: &str = "auth: {mode: Disabled}\n";

    #[track_caller]
    fn check_spec(spec: &str, expected: &[(&str, &str)]) {
        let found: Vec<_> =
            check(&manifest(spec)).into_iter().map(|it| (it.path, it.problem)).collect();
        let found: Vec<_> =
            found.iter().map(|(path, problem)| (path.as_str(), problem.as_str())).collect();
        assert_eq!(found, expected, "{spec}");
    }

    #[test]
    fn three_lines_make_a_gateway_and_fields_have_their_defaults() {
        let spec: RealtimeGatewaySpec = read(&manifest(OPEN)).unwrap().spec;

        assert_eq!(spec.max_connections, 10_000);
        assert_eq!(spec.max_message_size.to_string(), "512Ki");
        assert_eq!(
            (spec.ping_period.to_string(), spec.pong_wait.to_string()),
            ("54s".into(), "1m".into())
        );
        assert_eq!(spec.limits.send_queue_bytes.to_string(), "1Mi");
        assert_eq!(spec.path, "/ws");
        assert_eq!(spec.limits.max_idle_connections, None);
    }

    #[test]
    fn without_a_key_it_is_refused_in_just_those_words() {
        let found = check(&manifest("auth: {}\n"));
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "spec.auth has no key to check tokens with; right would be: auth.jwt with keys or jwks, or auth.mode: Disabled to let everybody in"
            ]
        );
    }

    #[test]
    fn every_wrong_manifest_is_refused_at_the_right_place() {
        const BOUNDS: &str = "is out of bounds";
        let open = |more: &str| format!("{OPEN}{more}\n");
        let check = |more: &str, path: &str, problem: &str| {
            check_spec(&open(more), &[(&format!("spec.{path}"), problem)]);
        };
        check("maxConnections: 0", "maxConnections", BOUNDS);
        check("maxConnections: many", "maxConnections", "is of another type");
        check("maxConection: 5", "maxConection", "is unknown");
        check("maxMessageSize: 124", "maxMessageSize", BOUNDS);
        check("maxMessageSize: 1Q", "maxMessageSize", "is not valid");
        check("pingPeriod: 61s", "pingPeriod", "leaves no time for the pong");
        check("pingPeriod: 1d", "pingPeriod", "is not valid");
        check("writeWait: 1ms", "writeWait", BOUNDS);
        check("missingOrigin: Maybe", "missingOrigin", "is none of the choices");
        check("allowedOrigins: [app.example.com]", "allowedOrigins[0]", "is not valid");
        check(
            "clientAddress: {trustedProxies: [here]}",
            "clientAddress.trustedProxies[0]",
            "is not valid",
        );
        check("clientAddress: {from: Header}", "clientAddress.from", "is none of the choices");
        check(
            "limits: {connectRate: {perSecond: 5, burst: 0}}",
            "limits.connectRate.burst",
            "would refuse everything",
        );
        check("limits: {connectRate: {perSecond: 5}}", "limits.connectRate.burst", "is missing");
        check(
            "limits: {messageRate: {perSecond: -5, burst: 1}}",
            "limits.messageRate.perSecond",
            BOUNDS,
        );
        check("limits: {channelsPerConnection: 0}", "limits.channelsPerConnection", BOUNDS);
        check("limits: {sendQueueBytes: 1Ki}", "limits.sendQueueBytes", "cannot hold one message");
        check("limits: {sendQueueMessages: 0}", "limits.sendQueueMessages", BOUNDS);
        check("limits: {pendingHandshakes: 0}", "limits.pendingHandshakes", BOUNDS);
        check(
            "limits: {byteRate: {perSecond: 2Mi, burst: 1Mi}}",
            "limits.byteRate.burst",
            "is less than a second's worth",
        );
        check("compression: {level: 10}", "compression.level", BOUNDS);
        check("compression: {mode: On}", "compression.mode", "is none of the choices");
        check("batching: {maxMessages: 0}", "batching.maxMessages", BOUNDS);
        check("batching: {maxDelay: 11s}", "batching.maxDelay", BOUNDS);
        check("channels: [{match: a*}]", "channels[0].match", "is not valid");
        check("channels: [{subscribe: Anyone}]", "channels[0].match", "is missing");
        check(
            "channels: [{match: a, publish: All}]",
            "channels[0].publish",
            "is none of the choices",
        );
        check(
            "channels: [{match: a, history: {messages: 0, maxAge: 1m}}]",
            "channels[0].history.messages",
            BOUNDS,
        );
        check(
            "channels: [{match: a, history: {messages: 1, maxAge: 0s}}]",
            "channels[0].history.maxAge",
            BOUNDS,
        );
        check(
            "drain: {period: 9s}",
            "drain.period",
            "is too short to close 1,000 connections a second",
        );
        check("drain: {period: 10m}", "drain.period", "with endpointGrace is longer than 10m");
        check("telemetry: {logLevel: loud}", "telemetry.logLevel", "is none of the choices");
        check(
            "telemetry: {otlp: {endpoint: a, sampleRatio: 2}}",
            "telemetry.otlp.sampleRatio",
            BOUNDS,
        );
        check("path: ws", "path", "is no path");
        check("tls: {}", "tls.secretName", "is missing");
        check("broker: {type: NATS}", "broker.nats", "goes with broker.type: NATS");
        check("broker: {nats: {url: a}}", "broker.nats", "goes with broker.type: NATS");
        check(
            "replicas: 2",
            "replicas",
            "with broker.type: Memory: a broadcast would reach only one replica's clients",
        );
        check(
            "autoscaling: {maxReplicas: 2}",
            "autoscaling.maxReplicas",
            "with broker.type: Memory: a broadcast would reach only one replica's clients",
        );
        check(
            "autoscaling: {minReplicas: 2, maxReplicas: 1}",
            "autoscaling.minReplicas",
            "is above maxReplicas",
        );
        check_spec(
            "auth: {jwt: {keys: [{algorithm: HS256, key: a}]}}\n",
            &[("spec.auth.jwt.keys", "are in no Secret")],
        );
        check_spec(
            "auth: {jwt: {jwks: {url: 'http://idp.example'}}}\n",
            &[("spec.auth.jwt.jwks.url", "is not https")],
        );
        check_spec("maxConnections: 5\n", &[("spec.auth", "is missing")]);
    }

    #[test]
    fn all_findings_come_at_once() {
        check_spec(
            "auth: {mode: Sometimes}\nmaxConnections: 0\nfoo: 1\n",
            &[
                ("spec.auth.mode", "is none of the choices"),
                ("spec.maxConnections", "is out of bounds"),
                ("spec.foo", "is unknown"),
            ],
        );
    }

    #[test]
    fn the_head_and_the_document_are_checked() {
        assert_eq!(check("kind: Pod\nspec: {auth: {mode: Disabled}}").len(), 3);
        assert_eq!(check("a: [").len(), 1);
        assert_eq!(check(&manifest("auth: {mode: Disabled}\nauth: {mode: Disabled}\n")).len(), 1);
        assert_eq!(check(&" ".repeat(BYTES_MAX + 1))[0].problem, "is too large");
    }

    #[test]
    fn unknown_fields_are_warnings_for_an_older_gateway() {
        let read = read(&manifest("auth: {mode: Disabled}\nnew: 1\n")).unwrap();
        assert_eq!(read.warnings[0].path, "spec.new");
    }

    #[test]
    fn what_is_rendered_is_read_back() {
        let spec = read(&manifest(OPEN)).unwrap().spec;
        let rendered = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<RealtimeGatewaySpec>(rendered).unwrap(), spec);
    }
}
