//! Writes `docs/configuration.md` from the annotated schema.

use std::fmt::Write;

use headgate_crds::{
    rules::RULES,
    schema::{KIND_KEY, MEANINGS_KEY, RANGE_KEY, annotated},
    v1alpha1::{Applied, RealtimeGatewaySpec},
    value::kind::Kind,
};
use serde_json::Value;

const HEAD: &str = include_str!("head.md");
const MINIMAL: &str = include_str!("../../../examples/minimal.yaml");

/// The whole page.
pub fn page() -> String {
    let schema = annotated();
    let fields = &schema["properties"]["spec"]["properties"];
    let mut page = HEAD.replace("{minimal}\n", MINIMAL);
    for (when, title, text) in [
        (Applied::Live, "What the gateway does", LIVE),
        (Applied::AtStart, "Read once at start", AT_START),
        (Applied::Deployment, "How it is deployed", DEPLOYMENT),
    ] {
        write!(page, "\n## {title}\n\n{text}\n").unwrap();
        part(&mut page, fields, when);
    }
    rules(&mut page);
    kinds(&mut page);
    page
}

const LIVE: &str = "Applied at once, in the running pods, and no connection is closed for it unless the text says so. \
    The names of Secrets are the exception: each is a volume of the pod, so another name rolls the pods. \
    What is in a Secret is live.";
const AT_START: &str = "A change rolls the pods. Outside a cluster the gateway goes on as it is, and says in its log, in \
    `/status` and by a metric which fields wait for a restart.";
const DEPLOYMENT: &str = "Read by the operator. `headgate-gateway serve` passes over these.";

/// First a table of the plain fields, then a section for each group.
fn part(page: &mut String, fields: &Value, when: Applied) {
    let names = || RealtimeGatewaySpec::APPLIED.iter().filter(move |(_, applied)| *applied == when);
    let (groups, plain): (Vec<_>, Vec<_>) =
        names().map(|(name, _)| (*name, &fields[*name])).partition(|(_, schema)| is_group(schema));
    if !plain.is_empty() {
        table(page, plain.into_iter().map(|(name, schema)| row(name, schema, &Need::None)));
    }
    for (name, schema) in groups {
        write!(page, "\n### {name}\n\n{}\n", text(schema)).unwrap();
        let mut rows = Vec::new();
        group(&mut rows, name, schema);
        table(page, rows.into_iter());
    }
}

fn is_group(schema: &Value) -> bool {
    schema["properties"].is_object() || schema["items"]["properties"].is_object()
}

fn table(page: &mut String, rows: impl Iterator<Item = String>) {
    page.push_str(
        "\n| field | type | default | allowed | what it does |\n| --- | --- | --- | --- | --- |\n",
    );
    rows.for_each(|row| page.push_str(&row));
}

/// The rows of a group, those of the groups in it under their path.
fn group(rows: &mut Vec<String>, path: &str, schema: &Value) {
    let (path, fields) = match schema.get("items") {
        Some(items) => (format!("{path}[]"), items),
        None => (path.to_owned(), schema),
    };
    let required = fields["required"].as_array();
    for (name, field) in fields["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|required| required.iter().any(|it| it == name));
        let need = if is_required { Need::Field(schema["default"].get(name)) } else { Need::None };
        let path = format!("{path}.{name}");
        rows.push(row(&path, field, &need));
        if is_group(field) {
            group(rows, &path, field);
        }
    }
}

/// Whether a field must be there.
enum Need<'a> {
    None,
    /// Where its group is; where the group as a whole is left out, this counts, if there is any.
    Field(Option<&'a Value>),
}

fn row(path: &str, schema: &Value, need: &Need<'_>) -> String {
    let default = match need {
        Need::Field(None) => "must be there".to_owned(),
        Need::Field(Some(of_group)) => format!("{}, must be there", written(of_group)),
        Need::None => default(schema),
    };
    let cells = [kind(schema), default, allowed(schema), meaning(schema)];
    format!("| `{path}` | {} |\n", cells.join(" | ").replace('\n', " "))
}

fn default(schema: &Value) -> String {
    match schema.get("default") {
        None => "left out".to_owned(),
        Some(Value::Object(_)) if is_group(schema) => String::new(),
        Some(default) => written(default),
    }
}

fn written(value: &Value) -> String {
    format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn kind(schema: &Value) -> String {
    let own = schema[KIND_KEY].as_str().map(|name| format!("[{name}](#values)"));
    match schema["type"].as_str() {
        _ if schema.get("enum").is_some() => "choice".to_owned(),
        _ if own.is_some() => own.unwrap_or_default(),
        Some("array") => match schema["items"][KIND_KEY].as_str() {
            Some(name) => format!("list of [{name}](#values)"),
            None => "list".to_owned(),
        },
        Some("object") if schema.get("properties").is_some() => "group".to_owned(),
        Some("object") => "map".to_owned(),
        Some("integer") => "whole number".to_owned(),
        other => other.unwrap_or_default().to_owned(),
    }
}

fn allowed(schema: &Value) -> String {
    let code = |value: &Value| format!("`{}`", value.as_str().unwrap_or_default());
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(code).collect::<Vec<_>>().join(" ");
    }
    if let [least, most] = schema[RANGE_KEY].as_array().map(Vec::as_slice).unwrap_or_default() {
        return format!("{} to {}", code(least), code(most));
    }
    match (
        schema.get("minimum"),
        schema.get("maximum"),
        schema.get("maxItems"),
        schema.get("maxProperties"),
    ) {
        (Some(least), Some(most), ..) => format!("{least} to {most}"),
        (_, _, Some(most), _) | (_, _, _, Some(most)) => format!("at most {most}"),
        _ => String::new(),
    }
}

fn meaning(schema: &Value) -> String {
    let meanings = schema[MEANINGS_KEY].as_object().into_iter().flatten();
    let said: Vec<_> = meanings
        .filter_map(|(name, meaning)| Some(format!("`{name}`: {}", meaning.as_str()?)))
        .collect();
    format!("{} {}", text(schema), said.join(" ")).trim().to_owned()
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

fn rules(page: &mut String) {
    page.push_str(
        "\n## Rules between fields\n\nThe API server, `headgate-gateway check` and the gateway refuse a manifest that breaks one:\n\n",
    );
    let mut said = Vec::new();
    for rule in RULES.iter().filter(|rule| !rule.message.starts_with("burst")) {
        if !said.contains(&rule.message) {
            said.push(rule.message);
            writeln!(page, "- {}", rule.message).unwrap();
        }
    }
    page.push_str("- in every rate, `burst` must be at least 1 where `perSecond` is not 0\n");
}

fn kinds(page: &mut String) {
    page.push_str("\n## Values\n\n| type | what it is | at most |\n| --- | --- | --- |\n");
    for kind in Kind::ALL {
        let what = kind.right().replace('|', "\\|").replace('*', "\\*");
        writeln!(page, "| {} | {what} | {} characters |", kind.name(), kind.length_max()).unwrap();
    }
}
