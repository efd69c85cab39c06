//! A manifest says what its author meant: defaults are those that are documented, and what is written is read back.

use headgate_crds::{
    manifest::{check, read, render},
    v1alpha1::{Access, AuthMode, ChannelRule, RealtimeGatewaySpec},
};
use proptest::prelude::*;
use serde_json::{Value, json};

const HEAD: &str = "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {name: chat, namespace: demo}\n";

fn spec(text: &str) -> RealtimeGatewaySpec {
    read(&format!("{HEAD}{text}")).unwrap_or_else(|findings| panic!("{findings:?}")).spec
}

#[test]
fn defaults_are_those_that_are_promised() {
    let left_out = spec("spec: {auth: {mode: Disabled}}");

    let written = spec(
        r"
spec:
  allowedOrigins: []
  missingOrigin: Allow
  maxConnections: 10000
  maxMessageSize: 512Ki
  pingPeriod: 54s
  pongWait: 60s
  writeWait: 10s
  clientAddress: {from: Socket, trustedProxies: []}
  limits:
    connectionsPerUser: 0
    connectRate: {perSecond: 500, burst: 1000}
    perAddress: {connections: 0, connectRate: {perSecond: 0, burst: 0}}
    pendingHandshakes: 1000
    messageRate: {perSecond: 50, burst: 100}
    subscribeRate: {perSecond: 64, burst: 256}
    byteRate: {perSecond: 1Mi, burst: 4Mi}
    channelsPerConnection: 128
    sendQueueMessages: 256
    sendQueueBytes: 1Mi
    handshakeTimeout: 10s
    idleTimeout: 0s
  compression: {mode: Shared, level: 6, minSize: 1Ki}
  batching: {maxMessages: 100, maxDelay: 0s, plain: Disabled}
  auth: {mode: Disabled, tokenInQuery: Deny, firstMessage: Deny}
  channels: []
  drain: {period: 120s, endpointGrace: 10s}
  telemetry: {logLevel: info}
  path: /ws
  broker: {type: Memory, historyBytes: 64Mi}
  api: {}
  replicas: 1
  deployment: {imagePullSecrets: [], nodeSelector: {}, tolerations: [], topologySpread: Zone}
  service: {type: ClusterIP, port: 80, annotations: {}}
  monitoring: {serviceMonitor: Auto, prometheusRule: Auto, dashboard: Auto}
  networkPolicy: {mode: Enabled, internalFrom: []}
",
    );
    assert_eq!(left_out, written);
}

/// The manifest of the design, all of it, and the defaults of the groups that are left out by default.
#[test]
fn a_full_manifest_is_read() {
    let text = r#"
spec:
  allowedOrigins: ["https://app.example.com", "https://*.example.com"]
  maxConnections: 10000
  limits: {maxIdleConnections: 1000}
  auth:
    mode: Required
    jwt:
      issuer: https://id.example.com
      audience: chat
      keysSecretName: chat-jwt
      keys: [{algorithm: HS256, key: hmac, kid: "2026-11"}]
      jwks: {url: https://id.example.com/jwks.json}
  channels:
  - {match: "public.**", subscribe: Anyone, publish: Granted, presence: Enabled, history: {}}
  - {match: "**"}
  telemetry: {logLevel: info, otlp: {endpoint: "http://otel:4317"}}
  tls: {secretName: chat-tls}
  broker: {type: NATS, nats: {url: "nats://nats:4222", credentialsSecretName: chat-nats}}
  api: {keySecretName: chat-api}
  autoscaling: {maxReplicas: 20}
  deployment:
    image: registry.example.com/headgate/gateway:0.1.0
    imagePullSecrets: [{name: registry}]
    resources: {requests: {cpu: 250m, memory: 256Mi}, limits: {cpu: 2}}
    nodeSelector: {kubernetes.io/arch: amd64}
    tolerations: [{key: dedicated, value: realtime, effect: NoSchedule}]
  route: {hostnames: [chat.example.com], ingressClassName: nginx}
  networkPolicy: {internalFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]}
"#;
    assert_eq!(check(&format!("{HEAD}{text}")), []);

    let spec = serde_json::to_value(spec(text)).unwrap();

    let at = |pointer: &str| spec.pointer(pointer).cloned().unwrap_or(Value::Null);
    assert_eq!(at("/auth/jwt/jwks/refreshPeriod"), json!("10m"));
    assert_eq!(at("/channels/0/history"), json!({"messages": 100, "maxAge": "5m"}));
    assert_eq!(
        at("/channels/1"),
        json!({"match": "**", "subscribe": "Granted", "publish": "Granted", "presence": "Disabled"})
    );
    assert_eq!(at("/telemetry/otlp/sampleRatio"), json!(0.01));
    assert_eq!(
        at("/autoscaling"),
        json!({"minReplicas": 2, "maxReplicas": 20, "targetUtilization": 70, "scaleDownStabilization": "10m"})
    );
    assert_eq!(at("/deployment/resources/limits/cpu"), json!(2));
    assert_eq!(at("/deployment/tolerations/0/operator"), json!("Equal"));
}

#[test]
fn without_channels_one_rule_is_for_all_of_them() {
    let rules = |text: &str| spec(text).channel_rules();
    let everything = |access| {
        let rule = json!({"match": "**", "subscribe": access, "publish": access});
        vec![serde_json::from_value::<ChannelRule>(rule).unwrap()]
    };

    assert_eq!(rules("spec: {auth: {mode: Disabled}}"), everything("Anyone"));
    let jwks = "jwt: {jwks: {url: \"https://id.example.com/\"}}";
    assert_eq!(
        rules(&format!("spec: {{auth: {{mode: Optional, {jwks}}}}}")),
        everything("Granted")
    );
    assert_eq!(rules(&format!("spec: {{auth: {{{jwks}}}}}")), everything("Granted"));
    assert_eq!(
        rules("spec: {auth: {mode: Disabled}, channels: [{match: a}]}")[0].publish,
        Access::Granted
    );
}

#[test]
fn a_namespace_left_out_is_the_default_one() {
    let manifest = read(&format!("{HEAD}spec: {{auth: {{mode: Disabled}}}}")).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.namespace.as_str()), ("chat", "demo"));

    let manifest = read(&format!(
        "{}spec: {{auth: {{mode: Disabled}}}}",
        HEAD.replace(", namespace: demo", "")
    ))
    .unwrap();
    assert_eq!(manifest.namespace, "default");
}

#[test]
fn what_the_api_server_adds_is_no_finding() {
    let text = format!(
        "{}spec: {{auth: {{mode: Disabled}}}}\nstatus: {{anything: 1}}\n",
        HEAD.replace("}\n", ", uid: a, labels: {a: b}, resourceVersion: \"5\"}\n")
    );

    assert_eq!(check(&text), []);
}

#[test]
fn the_examples_are_right() {
    for name in ["minimal.yaml", "gateway.yaml"] {
        let path = format!("{}/../examples/{name}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(check(&std::fs::read_to_string(path).unwrap()), [], "{name}");
    }
}

/// The default of the type is the safest: nobody gets in, and nobody takes it for a gateway.
#[test]
fn a_spec_of_nothing_but_defaults_is_refused() {
    let spec = RealtimeGatewaySpec::default();

    assert_eq!(spec.auth.mode, AuthMode::Required);
    assert_eq!(headgate_crds::rules::breaches(&spec).len(), 1);
}

/// A valid spec, as JSON, with some fields there and some not.
fn specs() -> impl Strategy<Value = Value> {
    let size = prop_oneof![
        Just(json!("1Mi")),
        Just(json!(524_288)),
        Just(json!("1.5Mi")),
        Just(json!("600k"))
    ];
    let rate = (1..1_000_u32, 1..1_000_u32)
        .prop_map(|(rate, burst)| json!({"perSecond": rate, "burst": burst}));
    let parts = "(\\*|[a-zé@]{1,5})(\\.(\\*|[a-z0-9:/#\"'{-]{1,5})){0,2}(\\.\\*\\*)?";
    let rule = (parts, 0..4_usize, prop::option::of((1..1_000_u32, 1..1_000_u32))).prop_map(
        |(pattern, access, history)| {
            let access = ["Anyone", "Authenticated", "Granted", "Nobody"][access];
            let history = history
                .map(|(messages, age)| json!({"messages": messages, "maxAge": format!("{age}s")}));
            json!({"match": pattern, "publish": access, "history": history})
        },
    );
    let fields = vec![
        ("maxConnections", (1..=120_000_u32).prop_map(|it| json!(it)).boxed()),
        ("maxMessageSize", (125..=524_288_u32).prop_map(|it| json!(it)).boxed()),
        ("pingPeriod", (100..60_000_u32).prop_map(|it| json!(format!("{}s{}ms", it / 1_000, it % 1_000))).boxed()),
        ("limits", (size, rate).prop_map(|(size, rate)| json!({"sendQueueBytes": size, "messageRate": rate})).boxed()),
        ("channels", prop::collection::vec(rule, 0..4).prop_map(Value::Array).boxed()),
        ("path", "/[a-z0-9._~%+-]{0,20}".prop_map(Value::String).boxed()),
        ("allowedOrigins", prop::collection::btree_set("https://(\\*\\.)?[a-z]{1,9}(:[1-9][0-9]{3})?", 0..4).prop_map(|it| json!(it)).boxed()),
        ("service", ("[ -~é\n]{0,20}", 1..=65_535_u32).prop_map(|(note, port)| json!({"port": port, "annotations": {"a.b/c": note}})).boxed()),
        ("clientAddress", any::<[u8; 4]>().prop_map(|it| json!({"from": "XForwardedFor", "trustedProxies": [std::net::Ipv4Addr::from(it)]})).boxed()),
        ("telemetry", (0.0..=1.0_f64).prop_map(|it| json!({"otlp": {"endpoint": "http://otel:4317", "sampleRatio": it}})).boxed()),
    ];
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| (Just(name), prop::option::of(value))).collect();
    fields.prop_map(|fields| {
        let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut spec: serde_json::Map<_, _> = there.collect();
        spec.insert("auth".to_owned(), json!({"mode": "Disabled"}));
        Value::Object(spec)
    })
}

proptest! {
    #[test]
    fn what_is_rendered_reads_back_the_same(spec in specs()) {
        let text = format!("{HEAD}spec: {spec}\n");
        let first = read(&text).map_err(|findings| TestCaseError::fail(format!("{findings:?}")))?;

        let rendered = render(&first.name, &first.namespace, &first.spec).unwrap();

        prop_assert_eq!(check(&rendered), [], "{}", rendered);
        prop_assert_eq!(read(&rendered).unwrap(), first, "{}", rendered);
    }

    #[test]
    fn no_text_panics(text in "([a-zA-Z]{1,9}|[:{}\\[\\], \n&*~|>'\"-]){0,60}") {
        let _ = check(&text);
        let _ = check(&format!("{HEAD}spec:\n  {text}"));
    }
}

/// Editors and other tools know the words of JSON Schema and of Kubernetes, not ours.
#[test]
fn the_published_schema_has_no_words_of_our_own() {
    let schema = headgate_crds::schema();

    assert!(!schema.to_string().contains("x-headgate"));
    assert_eq!(schema["properties"]["spec"]["required"], json!(["auth"]));
    assert_eq!(schema["properties"]["spec"]["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["metadata"].get("additionalProperties"), None);
}
