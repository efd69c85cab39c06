//! What is wrong with a manifest is found, all of it, in words that say where, what and what would be right.

use headgate_crds::manifest::{FINDINGS_MAX, check, read};

/// A manifest whose spec is right, but for the lines given.
fn manifest(spec: &str) -> String {
    let lines = spec.lines().fold(String::new(), |lines, line| lines + "  " + line + "\n");
    let auth = if spec.contains("auth:") { "" } else { "  auth: {mode: Disabled}\n" };
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: chat}}\nspec:\n{auth}{lines}"
    )
}

/// The findings of a spec without their places.
fn findings(spec: &str) -> Vec<String> {
    check(&manifest(spec))
        .into_iter()
        .map(|mut finding| {
            assert!(finding.line.is_some(), "{finding}");
            (finding.line, finding.column) = (None, None);
            finding.to_string()
        })
        .collect()
}

/// The spec has exactly one finding, these words.
fn one(spec: &str, expected: &str) {
    assert_eq!(findings(spec), [expected], "{spec}");
    let text = manifest(spec);
    assert_eq!(read(&text).is_err(), !expected.contains("unknown field"), "{spec}");
}

fn right(spec: &str) {
    assert_eq!(findings(spec), [""; 0], "{spec}");
    assert!(read(&manifest(spec)).is_ok_and(|manifest| manifest.warnings.is_empty()), "{spec}");
}

const DURATION: &str = "such as 54s, 1h30m or 250ms";
const ORIGIN: &str = "must be a scheme and a host, and a port if it is not the scheme's own, where * is one whole label: \
     https://app.example.com, https://*.example.com:8443; or null";
const PATTERN: &str = "must be parts between dots, at most 255 bytes, where * is one whole part and ** at the end is all that \
     follow: room.*, public.**";

#[test]
fn wrong_types_and_bounds_are_found() {
    one(
        "maxConnections: many",
        "spec.maxConnections is many: not a whole number; must be a whole number from 1 to 600000",
    );
    one(
        "maxConnections: \"10\"",
        "spec.maxConnections is \"10\": not a whole number; must be a whole number from 1 to 600000",
    );
    one(
        "maxConnections: 1.5",
        "spec.maxConnections is 1.5: not a whole number; must be a whole number from 1 to 600000",
    );
    one(
        "maxConnections: 0",
        "spec.maxConnections is 0: too small; must be a whole number from 1 to 600000",
    );
    one(
        "maxConnections: 600001",
        "spec.maxConnections is 600001: too large; must be a whole number from 1 to 600000",
    );
    one("replicas: -1", "spec.replicas is -1: too small; must be a whole number from 0 to 1000");
    one(
        "replicas: true",
        "spec.replicas is true: not a whole number; must be a whole number from 0 to 1000",
    );
    one(
        "pingPeriod: 54",
        &format!(
            "spec.pingPeriod is 54: not text; must be a duration from 100ms to 1h, {DURATION}"
        ),
    );
    one(
        "pingPeriod: 54sec",
        &format!(
            "spec.pingPeriod is 54sec: not a duration; must be a duration from 100ms to 1h, {DURATION}"
        ),
    );
    one(
        "pingPeriod: 10ms",
        &format!(
            "spec.pingPeriod is 10ms: too short; must be a duration from 100ms to 1h, {DURATION}"
        ),
    );
    one(
        "writeWait: 11m",
        &format!(
            "spec.writeWait is 11m: too long; must be a duration from 100ms to 10m, {DURATION}"
        ),
    );
    one(
        "maxMessageSize: 1KB",
        "spec.maxMessageSize is 1KB: not a size; must be a size from 125 to 64Mi, such as 512Ki",
    );
    one(
        "maxMessageSize: 124",
        "spec.maxMessageSize is 124: too small; must be a size from 125 to 64Mi, such as 512Ki",
    );
    one(
        "maxMessageSize: 65Mi",
        "spec.maxMessageSize is 65Mi: too large; must be a size from 125 to 64Mi, such as 512Ki",
    );
    one(
        "maxMessageSize: -1",
        "spec.maxMessageSize is -1: not a size; must be a size from 125 to 64Mi, such as 512Ki",
    );
    one(
        "maxMessageSize: [1]",
        "spec.maxMessageSize is a list: not a size; must be a size from 125 to 64Mi, such as 512Ki",
    );
    one(
        "compression: {level: 10}",
        "spec.compression.level is 10: too large; must be a whole number from 0 to 9",
    );
    one("drain: 10s", "spec.drain is 10s: not a map; must be a map of period, endpointGrace");
    one("channels: {match: a}", "spec.channels is a map: not a list; must be a list");
    one(
        "service: {port: 70000}",
        "spec.service.port is 70000: too large; must be a whole number from 1 to 65535",
    );
    one(
        "telemetry: {otlp: {endpoint: \"http://otel:4317\", sampleRatio: 1.5}}",
        "spec.telemetry.otlp.sampleRatio is 1.5: too large; must be a number from 0 to 1",
    );
    one(
        &format!(
            "allowedOrigins: [{}]",
            (0..65).map(|i| format!("\"https://a{i}\"")).collect::<Vec<_>>().join(", ")
        ),
        "spec.allowedOrigins: 65 items; must be at most 64",
    );
}

#[test]
fn wrong_choices_are_found_with_what_was_meant() {
    one(
        "missingOrigin: allow",
        "spec.missingOrigin is allow: not one of the choices; must be Allow or Deny (did you mean Allow?)",
    );
    one(
        "auth: {mode: None}",
        "spec.auth.mode is None: not one of the choices; must be Disabled, Optional, Required",
    );
    one(
        "auth: {mode: Requierd, jwt: {jwks: {url: \"https://id/\"}}}",
        "spec.auth.mode is Requierd: not one of the choices; must be Disabled, Optional, Required (did you mean Required?)",
    );
    one(
        "compression: {mode: true}",
        "spec.compression.mode is true: not text; must be Shared or Disabled",
    );
    one(
        "broker: {type: Nats}",
        "spec.broker.type is Nats: not one of the choices; must be Memory or NATS (did you mean NATS?)",
    );
    one(
        "telemetry: {logLevel: INFO}",
        "spec.telemetry.logLevel is INFO: not one of the choices; must be error, warn, info, debug, trace (did you mean info?)",
    );
    one(
        "channels: [{match: a, publish: anyone}]",
        "spec.channels[0].publish is anyone: not one of the choices; must be Anyone, Authenticated, Granted, Nobody (did you mean Anyone?)",
    );
}

#[test]
fn wrong_texts_are_found() {
    one(
        "allowedOrigins: [\"*\"]",
        &format!("spec.allowedOrigins[0] is *: has no scheme; {ORIGIN}"),
    );
    one(
        "allowedOrigins: [\"https://a.example/\"]",
        &format!(
            "spec.allowedOrigins[0] is https://a.example/: has a path, which no browser sends; {ORIGIN}"
        ),
    );
    one(
        "allowedOrigins: [\"https://a\", \"https://a\"]",
        "spec.allowedOrigins[1] is https://a: there twice; write it once",
    );
    one("allowedOrigins: [~]", &format!("spec.allowedOrigins[0]: nothing; {ORIGIN}"));
    one(
        "channels: [{match: \"room-*\"}]",
        &format!("spec.channels[0].match is room-*: has a * that is not a whole part; {PATTERN}"),
    );
    one(
        "channels: [{match: \"**.a\"}]",
        &format!("spec.channels[0].match is **.a: has a ** that is not the last part; {PATTERN}"),
    );
    one("channels: [{publish: Nobody}]", &format!("spec.channels[0].match: missing; {PATTERN}"));
    one(
        "clientAddress: {trustedProxies: [10.0.0.1/8]}",
        "spec.clientAddress.trustedProxies[0] is 10.0.0.1/8: an address inside 10.0.0.0/8, not a network; \
         must be a network such as 10.0.0.0/8 or 2001:db8::/32, or one address",
    );
    one(
        "path: ws",
        "spec.path is ws: not a path; must be a path of a URL that begins with /, without ? and #: /ws",
    );
    one(
        "path: \"\"",
        "spec.path is \"\": not a path; must be a path of a URL that begins with /, without ? and #: /ws",
    );
    one(
        &format!("path: /{}", "a".repeat(256)),
        &format!("spec.path is /{}…: 257 characters long; must be at most 256", "a".repeat(63)),
    );
    one(
        "tls: {secretName: Chat}",
        "spec.tls.secretName is Chat: not a name; must be a name of lower-case letters, digits, - and . that begins and ends with a letter or a digit",
    );
    one(
        "tls: {}",
        "spec.tls.secretName: missing; must be a name of lower-case letters, digits, - and . that begins and ends with a letter or a digit",
    );
    one(
        "auth: {jwt: {keysSecretName: a, keys: [{algorithm: HS256, key: ../x}]}}",
        "spec.auth.jwt.keys[0].key: not a file name; must be the name of a file in the Secret: letters, digits, -, _ and .",
    );
    one(
        "auth: {jwt: {jwks: {url: \"http://id.example.com/\"}}}",
        "spec.auth.jwt.jwks.url is http://id.example.com/: not an https URL; must be an https URL without user and fragment: https://id.example.com/jwks.json",
    );
    one(
        "service: {annotations: {\"a b\": c}}",
        "spec.service.annotations[\"a b\"]: not a label key; must be a label key: a name of at most 63 characters, perhaps after a DNS name and /",
    );
    one(
        "deployment: {resources: {limits: {memory: 1GB}}}",
        "spec.deployment.resources.limits.memory is 1GB: not a quantity; must be a Kubernetes quantity: 250m, 2, 512Mi",
    );
}

#[test]
fn unknown_fields_are_findings_for_check_and_warnings_for_serve() {
    one("pingPerod: 54s", "spec.pingPerod: unknown field; did you mean pingPeriod?");
    one("ping_period: 54s", "spec.ping_period: unknown field; did you mean pingPeriod?");
    one(
        "messageRate: {}",
        "spec.messageRate: unknown field; did you mean spec.limits.messageRate?",
    );
    one(
        "drain: {deadline: 5s}",
        "spec.drain.deadline: unknown field; known here: period, endpointGrace",
    );

    let warnings = read(&manifest("future: {deep: [1]}\npingPeriod: 10s")).unwrap().warnings;

    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].path, "spec.future");
}

#[test]
fn rules_between_fields_speak_the_users_words() {
    one(
        "pingPeriod: 60s",
        "spec.pingPeriod is 60s: not shorter than pongWait (60s); \
         pingPeriod must be shorter than pongWait, or connections would end before they are pinged",
    );
    one(
        "replicas: 2",
        "spec.replicas is 2: more than one replica with broker.type: Memory; \
         more than one replica needs broker.type: NATS; with Memory a broadcast would reach only one replica's clients",
    );
    one(
        "autoscaling: {maxReplicas: 3}",
        "spec.autoscaling.maxReplicas is 3: more than one replica with broker.type: Memory; \
         maxReplicas above 1 needs broker.type: NATS; with Memory a broadcast would reach only one replica's clients",
    );
    one(
        "autoscaling: {minReplicas: 4, maxReplicas: 3}\nbroker: {type: NATS, nats: {url: \"nats://nats:4222\"}}",
        "spec.autoscaling.minReplicas is 4: above maxReplicas (3); minReplicas must not be above maxReplicas",
    );
    one(
        "limits: {sendQueueBytes: 1Ki}",
        "spec.limits.sendQueueBytes is 1Ki: smaller than maxMessageSize (512Ki); \
         limits.sendQueueBytes must be at least maxMessageSize, or a message of that size could not be delivered",
    );
    one(
        "maxConnections: 200000",
        "spec.drain.period is 120s: too short for 200000 connections; \
         drain.period must be at least 1s for every 1,000 of maxConnections, since 1,000 connections are closed per second",
    );
    one(
        "drain: {period: 10m}",
        "spec.drain.period is 10m: with endpointGrace (10s) longer than 10m; \
         drain.period and drain.endpointGrace together must be at most 10m, since pods are ended after 630 s",
    );
    one(
        "auth: {jwt: {keys: [{algorithm: HS256, key: hmac}]}}",
        "spec.auth.jwt.keysSecretName: missing; \
         auth.jwt.keys needs keysSecretName: the Secret that has the keys' files",
    );
    one(
        "auth: {jwt: {keysSecretName: a, keys: [{algorithm: HS256, key: a, kid: x}, {algorithm: HS256, key: b, kid: x}]}}",
        "spec.auth.jwt.keys[1].kid is x: there already; auth.jwt.keys must not have the same kid twice",
    );
    one(
        "broker: {type: NATS}",
        "spec.broker.nats: missing with type: NATS; \
         broker.nats must be there with broker.type: NATS, and only then",
    );
    one(
        "broker: {nats: {url: \"nats://nats\"}}",
        "spec.broker.nats: there with type: Memory; \
         broker.nats must be there with broker.type: NATS, and only then",
    );
    one(
        "limits: {messageRate: {perSecond: 5, burst: 0}}",
        "spec.limits.messageRate.burst is 0: nothing would ever pass; \
         burst must be at least 1 where perSecond is not 0, or nothing would ever pass",
    );
    one(
        "limits: {byteRate: {perSecond: 1Ki, burst: 0}}",
        "spec.limits.byteRate.burst is 0: nothing would ever pass; \
         burst must be at least 1 where perSecond is not 0, or nothing would ever pass",
    );
    one(
        "clientAddress: {from: ProxyProtocol}",
        "spec.clientAddress.trustedProxies: no proxy is trusted; \
         clientAddress.from other than Socket needs trustedProxies: nobody else's word counts",
    );
    one(
        "route: {ingressClassName: nginx, parentRefs: [{name: web}]}",
        "spec.route.ingressClassName is nginx: there beside parentRefs; \
         route must have ingressClassName (an Ingress) or parentRefs (an HTTPRoute), not both",
    );
    one(
        "networkPolicy: {internalFrom: [{}]}",
        "spec.networkPolicy.internalFrom[0]: names nobody, or addresses and pods at once; \
         each of networkPolicy.internalFrom must have ipBlock, or podSelector, namespaceSelector or both",
    );
}

#[test]
fn a_gateway_without_a_key_is_refused_in_just_those_words() {
    let words = "no key and no `auth.mode: Disabled`; auth needs a key in auth.jwt.keys, or auth.jwt.jwks, or auth.mode: Disabled";
    let head = "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {name: chat}\n";
    let only = |text: String| match check(&text).as_slice() {
        [finding] => finding.to_string(),
        other => panic!("{other:?}"),
    };

    assert_eq!(
        only(format!("{head}spec:\n  allowedOrigins: []\n")),
        format!("line 5, column 3: spec.auth: {words}")
    );
    assert_eq!(
        only(format!("{head}spec: {{auth: {{}}}}\n")),
        format!("line 4, column 14: spec.auth: {words}")
    );
    assert_eq!(
        only(format!("{head}spec: {{auth: {{mode: Optional}}}}\n")),
        format!("line 4, column 14: spec.auth: {words}")
    );
}

#[test]
fn rules_at_their_edges_let_pass() {
    right("pingPeriod: 59999ms");
    right("limits: {sendQueueBytes: 512Ki}");
    right("maxConnections: 120000");
    right("drain: {period: 590s}");
    right("maxConnections: 600000\ndrain: {period: 10m, endpointGrace: 0s}");
    right("limits: {messageRate: {perSecond: 0, burst: 0}, byteRate: {perSecond: 0, burst: 0}}");
    right(
        "replicas: 3\nautoscaling: {minReplicas: 3, maxReplicas: 3}\nbroker: {type: NATS, nats: {url: \"nats://a,tls://b:1\"}}",
    );
    right("limits: ~\ntls: ~");
    right("auth: {mode: Optional, jwt: {jwks: {url: \"https://id.example.com/jwks.json\"}}}");
    right(
        "auth: {jwt: {keysSecretName: a, keys: [{algorithm: EdDSA, key: a}, {algorithm: EdDSA, key: b}]}}",
    );
    right(
        "networkPolicy: {internalFrom: [{ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}, namespaceSelector: {}}]}",
    );
}

#[test]
fn what_may_be_a_secret_is_not_quoted() {
    for spec in [
        "auth: {jwt: {keysSecretName: a, keys: [{algorithm: HS256, key: \"hunter2 \"}]}}",
        "auth: {jwt: {jwks: {url: \"https://bob:hunter2@id.example.com/\"}}}",
        "broker: {type: NATS, nats: {url: \"nats://a,nats://bob:hunter2@b\"}}",
        "telemetry: {otlp: {endpoint: \"http://bob:hunter2@otel:4317\"}}",
    ] {
        let found = findings(spec);

        assert_eq!(found.len(), 1, "{spec}");
        assert!(found.iter().all(|it| !it.contains("hunter2")), "{found:?}");
    }
}

#[test]
fn credentials_in_the_url_of_nats_are_told_where_they_belong() {
    for url in ["nats://bob:hunter2@b", "nats://a,tls://hunter2@b:4222"] {
        assert_eq!(
            findings(&format!("broker: {{type: NATS, nats: {{url: \"{url}\"}}}}")),
            [
                "spec.broker.nats.url: has a user, password or token in it, which belong in the Secret that \
              credentialsSecretName names; must be nats:// or tls:// with host and port, several joined by commas: \
              nats://nats:4222"
            ]
        );
    }
}

#[test]
fn a_text_that_is_no_manifest_is_refused_as_a_whole() {
    let check = |text: &str, expected: &[&str]| {
        let found: Vec<_> = check(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text}");
        assert!(read(text).is_err(), "{text}");
    };
    let one_document = "a manifest is one YAML document with one RealtimeGateway";
    let map = "a manifest is a map of apiVersion, kind, metadata and spec";
    check("", &[&format!("nothing in it; {map}")]);
    check("# only a comment", &[&format!("nothing in it; {map}")]);
    check("[]", &[&format!("line 1, column 1: not a map; {map}")]);
    check(
        "a: 1\n---\nb: 2\n",
        &[&format!("line 3, column 1: more than one YAML document; {one_document}")],
    );
    check("a: [1", &[&format!("line 1, column 4: unclosed bracket '['; {one_document}")]);
    check(
        "a: *b",
        &[&format!("line 1, column 4: alias references unknown anchor; {one_document}")],
    );
    check(&" ".repeat((1 << 20) + 1), &["1048577 bytes long; a manifest is at most 1 MiB"]);
    check(
        "apiVersion: v1\nkind: ConfigMap\ndata: {}\n",
        &[
            "line 1, column 13: apiVersion is v1: not one of the choices; must be headgate.dev/v1alpha1",
            "line 2, column 7: kind is ConfigMap: not one of the choices; must be RealtimeGateway",
        ],
    );
    check(
        "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\n",
        &[
            "line 1, column 1: metadata: missing; must be a map with name at least",
            "line 1, column 1: spec: missing; must be a map with auth at least",
        ],
    );
}

#[test]
fn the_name_becomes_part_of_other_names() {
    let with_name = |name: &str| manifest("").replace("name: chat", &format!("name: {name}"));
    for name in ["a", "chat-2", &"a".repeat(40)] {
        assert_eq!(check(&with_name(name)), [], "{name}");
    }
    for name in ["Chat", "2chat", "chat-", "a.b", "\"\"", "~", "5", &"a".repeat(41)] {
        let found = check(&with_name(name));
        assert_eq!(
            found.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(),
            ["metadata.name"],
            "{name}"
        );
    }
}

#[test]
fn all_findings_come_at_once_and_in_order() {
    let text = manifest(
        "pongWait: 5\nreplicas: x\npingPeriod: 1\nwriteWait: 1s\nwriteWait: 2s\nfuture: 1",
    );

    let found = check(&text);

    let places: Vec<_> = found.iter().map(|it| (it.line.unwrap(), it.path.as_str())).collect();
    let expected = [
        (6, "spec.pongWait"),
        (7, "spec.replicas"),
        (8, "spec.pingPeriod"),
        (10, "spec.writeWait"),
        (11, "spec.future"),
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_hostile_document_costs_no_more_than_its_length() {
    let many = |count: usize| {
        (0..count).fold(String::new(), |lines, i| lines + "x" + &i.to_string() + ": 1\n")
    };
    assert_eq!(check(&manifest(&many(5_000))).len(), FINDINGS_MAX);

    let deep = format!("a: {}", "[".repeat(100_000));
    assert_eq!(check(&deep).len(), 1);

    let laughs = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        let before = i - 1;
        format!("{text}a{i}: &a{i} [*a{before}, *a{before}, *a{before}, *a{before}]\n")
    });
    assert_eq!(check(&laughs).len(), 1);

    let long = manifest(&format!(
        "{}: {}\npath: \"\\e[31m{}\"",
        "k".repeat(100_000),
        "v".repeat(10),
        "p".repeat(1_000)
    ));
    assert!(
        check(&long)
            .iter()
            .all(|it| it.to_string().len() < 1_000 && !it.to_string().contains('\x1b'))
    );
}
