//! Reads a manifest and says everything that is wrong with it.
//!
//! `serde` stops at the first error and knows no bounds. So the document is compared with the schema first (types, choices,
//! bounds, unknown fields), then with the rules between fields. What comes out of [`read`] has passed both, and what the API
//! server would refuse does not pass here.

mod finding;
pub use finding::{FINDINGS_MAX, Finding};

mod bounds;
mod similar;
mod tree;
mod walk;

use std::sync::LazyLock;

use serde_json::{Value, json};

use self::{
    tree::{Node, Place, Yaml},
    walk::Walk,
};
use crate::{
    rules,
    schema::annotated,
    v1alpha1::{GROUP, KIND, RealtimeGatewaySpec, VERSION},
};

/// The longest manifest that is read, in bytes.
pub const BYTES_MAX: usize = 1 << 20;

/// A manifest that has passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`, `default` where it is left out.
    pub namespace: String,
    /// `spec`, with the defaults of what is left out.
    pub spec: RealtimeGatewaySpec,
    /// Fields that this version does not know and does not read.
    pub warnings: Vec<Finding>,
}

/// The schema costs more to make than a manifest to read, and never changes.
static SCHEMA: LazyLock<Value> = LazyLock::new(annotated);

/// Reads a manifest to serve it. A field that nobody knows is a warning, since an older gateway may meet a newer manifest.
///
/// # Errors
///
/// Everything that is wrong, by line, at most [`FINDINGS_MAX`].
pub fn read(text: &str) -> Result<Manifest, Vec<Finding>> {
    let document = parse(text)?;
    let Walk { wrong, unknown, .. } = Walk::over(&document, &SCHEMA);
    if !wrong.is_empty() {
        return Err(in_order(wrong));
    }
    let spec = typed_spec(&document).map_err(|finding| vec![*finding])?;
    let breaches = breaches(&spec, &document);
    if !breaches.is_empty() {
        return Err(in_order(breaches));
    }
    let metadata = |field: &str| match document
        .get("metadata")
        .and_then(|it| it.get(field))
        .map(|it| &it.value)
    {
        Some(Yaml::Text(text)) => Some(text.clone()),
        _ => None,
    };
    Ok(Manifest {
        name: metadata("name").unwrap_or_default(),
        namespace: metadata("namespace").unwrap_or_else(|| "default".to_owned()),
        spec,
        warnings: in_order(unknown),
    })
}

/// Everything that is wrong with a manifest, by line, at most [`FINDINGS_MAX`]; unknown fields too, as the API server sees it.
pub fn check(text: &str) -> Vec<Finding> {
    let document = match parse(text) {
        Ok(document) => document,
        Err(findings) => return findings,
    };
    let Walk { mut wrong, unknown, .. } = Walk::over(&document, &SCHEMA);
    if wrong.is_empty() {
        match typed_spec(&document) {
            Ok(spec) => wrong = breaches(&spec, &document),
            Err(finding) => wrong.push(*finding),
        }
    }
    wrong.extend(unknown);
    in_order(wrong)
}

/// A manifest's text. [`read`] gives back what was put in.
///
/// # Errors
///
/// Never for a spec that was read; a number that YAML can't say is one.
pub fn render(
    name: &str,
    namespace: &str,
    spec: &RealtimeGatewaySpec,
) -> Result<String, serde_saphyr::SerializeError> {
    serde_saphyr::to_string(&json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
}

fn parse(text: &str) -> Result<Node, Vec<Finding>> {
    if text.len() > BYTES_MAX {
        let problem = format!("{} bytes long", text.len());
        return Err(vec![whole(Place::default(), problem, "a manifest is at most 1 MiB")]);
    }
    let document = tree::parse(text).map_err(|(place, problem)| {
        vec![whole(place, problem, "a manifest is one YAML document with one RealtimeGateway")]
    })?;
    match document.value {
        Yaml::Map(_) => of_our_kind(document),
        Yaml::Null => Err(vec![whole(Place::default(), "nothing in it".into(), RIGHT)]),
        _ => Err(vec![whole(document.place, "not a map".into(), RIGHT)]),
    }
}

const RIGHT: &str = "a manifest is a map of apiVersion, kind, metadata and spec";

/// Of another kind of resource, only its kind is worth a word.
fn of_our_kind(document: Node) -> Result<Node, Vec<Finding>> {
    let Walk { wrong, .. } = Walk::over(&document, &SCHEMA);
    let is_head = |finding: &Finding| ["apiVersion", "kind"].contains(&finding.path.as_str());
    let head: Vec<_> = wrong.into_iter().filter(is_head).collect();
    if head.is_empty() { Ok(document) } else { Err(in_order(head)) }
}

fn whole(place: Place, problem: String, right: &str) -> Finding {
    let known = |number: usize| Some(number).filter(|number| *number > 0);
    Finding {
        path: String::new(),
        line: known(place.line),
        column: known(place.column),
        value: String::new(),
        problem,
        right: right.to_owned(),
    }
}

/// The type says nothing that the schema did not, unless one of them is wrong: then it is said here, and not passed over.
fn typed_spec(document: &Node) -> Result<RealtimeGatewaySpec, Box<Finding>> {
    let spec = document.get("spec");
    let value = spec.map_or_else(|| json!({}), Node::to_json);
    serde_json::from_value(value).map_err(|error| {
        Box::new(Finding {
            path: "spec".to_owned(),
            ..whole(spec.map(|spec| spec.place).unwrap_or_default(), error.to_string(), "")
        })
    })
}

fn breaches(spec: &RealtimeGatewaySpec, document: &Node) -> Vec<Finding> {
    let found = rules::breaches(spec).into_iter().map(|(breach, right)| Finding {
        path: breach.path.clone(),
        value: breach.value,
        ..whole(place_of(&breach.path, document), breach.problem, right)
    });
    found.collect()
}

/// Where a field stands, or the innermost part around it that the document has.
fn place_of(path: &str, document: &Node) -> Place {
    let mut node = document;
    for step in path.split(['.', '[']) {
        let next = match (step.strip_suffix(']'), &node.value) {
            (Some(index), Yaml::List(items)) => {
                index.parse().ok().and_then(|index: usize| items.get(index))
            }
            _ => node.get(step),
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node.place
}

fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings.truncate(FINDINGS_MAX);
    findings
}
