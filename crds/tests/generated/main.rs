//! The CRD and the page on configuration on disk are what the types say, and the CRD is what Kubernetes' API conventions ask.
#![cfg(feature = "kube")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod conventions;
mod page;

use std::{env, fs, path::Path};

use headgate_crds::v1alpha1;
use serde_json::Value;

#[test]
fn crd_on_disk_is_current() {
    check("crds/generated/realtimegateways.yaml", &crd_yaml());
}

#[test]
fn page_on_configuration_is_current() {
    check("docs/configuration.md", &page::page());
}

/// The CRD as it is applied.
fn crd() -> Value {
    serde_saphyr::from_str(&v1alpha1::crd_yaml().unwrap()).unwrap()
}

fn crd_yaml() -> String {
    format!("# Generated from crds/src by `make generate`.\n{}", v1alpha1::crd_yaml().unwrap())
}

/// Compares a file with what it should be, or writes it where `UPDATE` is set.
fn check(path: &str, wanted: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, wanted).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    let first = there.lines().zip(wanted.lines()).find(|(there, wanted)| there != wanted);
    assert!(there == wanted, "{path} is stale, run `make generate`; first difference: {first:?}");
}
