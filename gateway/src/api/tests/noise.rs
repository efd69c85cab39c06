//! Whatever a caller sends is answered, in the shape of an answer.

use proptest::prelude::*;

use super::*;

fn target() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "(users|connections|channels|publish|batch|stats|messages|history|presence)",
        "[a-z.%*@0-9]{0,6}",
        "(%[0-9a-f]{2}){1,3}",
    ];
    let parts = prop::collection::vec(part, 0..4);
    let query = "(\\?(limit|cursor|scope|since|x)=[a-z0-9:%+&=]{0,12})?";
    (parts, query).prop_map(|(parts, query)| format!("/api/v1/{}{query}", parts.join("/")))
}

fn body() -> impl Strategy<Value = String> {
    let field = "(channel|channels|data|key|exclude|code|reason|user|jti|expires|publish|message)";
    let value = prop_oneof![
        "(null|true|-?[0-9]{1,20}|\"\"|\"\\\\u[0-9a-f]{4}\"|\\[\\]|\\{\\}|\\[\"a\"\\])",
        "\"\\PC{0,8}\"",
    ];
    let fields = prop::collection::vec((field, value), 0..4);
    let object = fields.prop_map(|fields| {
        let fields = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    });
    prop_oneof![4 => object, 1 => "\\PC{0,40}", 1 => "[\\[{\"\n\\\\]{0,200}"]
}

proptest! {
    #[test]
    fn every_request_gets_an_answer(
        method in "(GET|HEAD|POST|PUT|[A-Z]{1,8})",
        target in target(),
        body in body(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let Ok(_) = target.parse::<http::Uri>() else { return Ok(()) };
        let request = request(&method, &target, &body);

        let (status, text) = runtime.block_on(async {
            let answer = Internal::new(Fake::default().into()).answer(request).await;
            (answer.status(), text(answer).await)
        });

        prop_assert!([200, 400, 404, 405, 409, 413].contains(&status.as_u16()), "{status}");
        for line in text.lines() {
            let answer: Value = serde_json::from_str(line).unwrap();
            let is_refusal = answer["error"]["code"].is_string();
            prop_assert!(status == StatusCode::OK || is_refusal, "{line}");
        }
    }
}
