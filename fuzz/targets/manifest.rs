//! Manifests: any text gives findings or a spec, `read` and `check` agree, and what is written is read back.
#![no_main]

use headgate_crds::manifest::{FINDINGS_MAX, check, read, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let findings = check(text);

    assert!(findings.len() <= FINDINGS_MAX);
    // YAML takes a lone CR for the end of a line too.
    let lines = 1 + text.matches(['\n', '\r']).count();
    for finding in &findings {
        let said = finding.to_string();
        assert!(!said.contains('\n') && said.len() < 4_096, "{said}");
        assert!(finding.line.is_none_or(|line| (1..=lines).contains(&line)));
    }
    match read(text) {
        Ok(manifest) => {
            assert_eq!(findings, manifest.warnings, "check finds what read does not");
            let written =
                render(&manifest.name, &manifest.namespace, &manifest.spec).expect("YAML");
            let again = read(&written).unwrap_or_else(|findings| panic!("{findings:?}\n{written}"));
            assert_eq!((&again.name, &again.namespace), (&manifest.name, &manifest.namespace));
            assert_eq!(again.spec, manifest.spec);
        }
        Err(wrong) => {
            assert!(!wrong.is_empty() && !findings.is_empty(), "refused without a reason");
        }
    }
});
