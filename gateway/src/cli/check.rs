//! `check`: everything that is wrong with manifests.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use headgate_crds::manifest::{BYTES_MAX, Finding};
use serde_json::json;

use super::{Failure, input};
use crate::config::document;

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct Check {
    /// The manifests; `-` is standard input.
    #[arg(required = true, value_name = "MANIFEST")]
    manifests: Vec<PathBuf>,
    /// How the findings are printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A finding a line: the file, the line, the field, its value, and what would be right.
    Text,
    /// One JSON array of all of them.
    Json,
}

const AFTER: &str = "\
Unknown fields are findings too, as they are for the API server; `serve` only warns of them, since
an older gateway may meet a newer manifest. Rules between fields are looked at, as by the API server,
once every field is right by itself. Exits with 65 if there is any finding.

Examples:
  headgate-gateway check gateway.yaml
  kubectl get rtgw chat -o yaml | headgate-gateway check - --output json";

impl Check {
    /// Prints the findings of all manifests.
    pub(super) fn run(&self, output: &mut impl Write) -> Result<(), Failure> {
        let mut checked = Vec::new();
        for path in &self.manifests {
            checked.push((path.as_path(), document::check(&input::read(path, BYTES_MAX)?)));
        }
        let printed = match self.output {
            Output::Text => text(&checked, output),
            Output::Json => json(&checked, output),
        };
        printed.map_err(Failure::Output)?;
        let is_clean = checked.iter().all(|(_, findings)| findings.is_empty());
        if is_clean { Ok(()) } else { Err(Failure::Refused) }
    }
}

fn text(checked: &[(&Path, Vec<Finding>)], output: &mut impl Write) -> std::io::Result<()> {
    for (path, findings) in checked {
        for finding in findings {
            writeln!(output, "{}: {finding}", path.display())?;
        }
        if findings.is_empty() {
            writeln!(output, "{}: nothing wrong", path.display())?;
        }
    }
    Ok(())
}

fn json(checked: &[(&Path, Vec<Finding>)], output: &mut impl Write) -> std::io::Result<()> {
    let findings: Vec<_> = checked
        .iter()
        .flat_map(|(path, findings)| {
            findings.iter().map(|Finding { path: field, line, column, value, problem, right }| {
                json!({
                    "manifest": path.display().to_string(),
                    "path": field,
                    "line": line,
                    "column": column,
                    "value": value,
                    "problem": problem,
                    "right": right,
                })
            })
        })
        .collect();
    writeln!(output, "{:#}", serde_json::Value::Array(findings))
}
