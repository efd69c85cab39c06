//! What an API reviewer would look for in the CRD (Kubernetes' API conventions, and the server's own limits).

use std::collections::BTreeSet;

use serde_json::Value;

/// Calls `visit` with every schema of the CRD and its path.
fn for_each(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        for_each(&format!("{path}.{name}"), property, visit);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            for_each(&format!("{path}[]"), &schema[key], visit);
        }
    }
}

fn complaints(judge: impl Fn(&str, &Value) -> Option<String>) -> Vec<String> {
    let crd = super::crd();
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut complaints = Vec::new();
    for part in ["spec", "status"] {
        for_each(part, &root["properties"][part], &mut |path, schema| {
            complaints.extend(judge(path, schema).map(|complaint| format!("{path}: {complaint}")));
        });
    }
    complaints
}

fn none(judge: impl Fn(&str, &Value) -> Option<String>) {
    let complaints = complaints(judge);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn only_keys_that_a_structural_schema_has_are_used() {
    let known = BTreeSet::from([
        "type",
        "description",
        "default",
        "enum",
        "format",
        "minimum",
        "maximum",
        "maxLength",
        "maxItems",
        "maxProperties",
        "pattern",
        "items",
        "properties",
        "required",
        "additionalProperties",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
    ]);
    none(|_, schema| {
        let keys: Vec<_> =
            schema.as_object()?.keys().filter(|key| !known.contains(key.as_str())).collect();
        (!keys.is_empty()).then(|| format!("{keys:?}"))
    });
}

#[test]
fn every_field_is_described() {
    none(|path, schema| {
        let is_field = !path.ends_with("[]") && path != "status";
        (is_field && schema["description"].as_str().unwrap_or_default().is_empty())
            .then(|| "has no description".to_owned())
    });
}

#[test]
fn every_value_is_bounded() {
    none(|path, schema| {
        let is_bounded = match schema["type"].as_str() {
            Some("string") => {
                ["maxLength", "enum", "format"].iter().any(|key| schema.get(key).is_some())
            }
            Some("array") => {
                schema.get("maxItems").is_some() && schema.get("x-kubernetes-list-type").is_some()
            }
            Some("integer" | "number") if path.starts_with("spec") => {
                schema.get("minimum").is_some() && schema.get("maximum").is_some()
            }
            Some("object") => {
                schema.get("properties").is_some() || schema.get("maxProperties").is_some()
            }
            _ => true,
        };
        (!is_bounded).then(|| "has no bound".to_owned())
    });
}

#[test]
fn choices_are_words_and_there_are_no_booleans() {
    none(|_, schema| (schema["type"] == "boolean").then(|| "is a boolean".to_owned()));
}

/// A rule that reads a nested default finds it only if it is written out where the object as a whole is defaulted.
#[test]
fn defaults_are_written_in_full() {
    none(|_, schema| {
        let default = schema.get("default")?.as_object()?;
        let properties = schema["properties"].as_object()?;
        let short = properties.iter().find(|(name, property)| {
            property.get("default").is_some() && !default.contains_key(*name)
        });
        short.map(|(name, _)| format!("its default has no {name}"))
    });
}

/// `self.a.b` and `has(self.a)` name fields of the schema they stand at, so that no typing mistake waits for a server.
#[test]
fn rules_name_fields_that_exist() {
    none(|_, schema| {
        let rules = schema["x-kubernetes-validations"].as_array()?;
        let text =
            rules.iter().filter_map(|rule| rule["rule"].as_str()).collect::<Vec<_>>().join(" ");
        text.split("self.").skip(1).find_map(|rest| {
            let path = rest.split(|c: char| !c.is_alphanumeric() && c != '.').next()?;
            let mut schema = schema;
            for step in path.split('.') {
                // What follows a list is a macro such as `all`, and not a field.
                if schema["type"] == "array" || ["getMilliseconds", "matches"].contains(&step) {
                    break;
                }
                match schema["properties"].get(step) {
                    Some(next) => schema = next,
                    None => return Some(format!("self.{path} does not exist")),
                }
            }
            None
        })
    });
}

#[test]
fn a_status_requires_nothing_of_itself() {
    let crd = super::crd();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];

    assert_eq!(status.get("required"), None);
    assert_eq!(status["properties"]["conditions"]["x-kubernetes-list-map-keys"][0], "type");
}

#[test]
fn kubectl_shows_what_matters() {
    let crd = super::crd();
    let version = &crd["spec"]["versions"][0];
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let narrow =
        columns.iter().filter(|column| column["priority"].as_i64().unwrap_or_default() == 0);
    let names: Vec<_> = narrow.map(|column| column["name"].as_str().unwrap()).collect();

    assert_eq!(names, ["Ready", "Replicas", "Connections", "Capacity", "Config", "Age"]);
    assert_eq!(crd["spec"]["names"]["shortNames"][0], "rtgw");
    assert_eq!(crd["spec"]["names"]["categories"][0], "realtime");
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(version["subresources"]["scale"]["labelSelectorPath"], ".status.selector");
    assert!(version["subresources"]["status"].is_object());
}

/// Client-side `kubectl apply` keeps a copy of the object in an annotation of at most 256 KiB.
#[test]
fn the_crd_is_small_enough_to_apply() {
    assert!(super::crd().to_string().len() < 128 * 1024, "{}", super::crd().to_string().len());
}

/// The server's own type knows every key: none is lost on the way, in what is typed as in what is applied.
#[test]
fn no_key_is_lost_on_the_way_to_the_server() {
    let typed = serde_json::to_value(headgate_crds::v1alpha1::crd()).unwrap();
    let applied = super::crd();
    let keys = |crd: &Value| {
        let mut keys = Vec::new();
        for part in ["spec", "status"] {
            let schema =
                &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part];
            for_each(part, schema, &mut |path, schema| {
                let mut names: Vec<_> = schema.as_object().unwrap().keys().cloned().collect();
                names.sort();
                keys.push(format!("{path} {names:?}"));
            });
        }
        keys.sort();
        keys
    };

    assert_eq!(keys(&typed), keys(&applied));
}
