//! Which pages may connect (RFC 6455, section 10.2).

use headgate_crds::{v1alpha1::Permission, value::OriginPattern};
use http::{HeaderMap, header::ORIGIN};

/// Whether the request's `Origin` is allowed; more than one is not.
pub fn is_allowed(headers: &HeaderMap, allowed: &[OriginPattern], missing: Permission) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => missing == Permission::Allow,
        (Some(origin), None) => {
            origin.to_str().is_ok_and(|origin| allowed.iter().any(|it| it.matches(origin)))
        }
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_origin_is_allowed() {
        let allowed = ["https://a.example".parse().unwrap()];
        let check = |origins: &[&str], is_ok| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_allowed(&headers, &allowed, Permission::Allow), is_ok, "{origins:?}");
        };
        check(&[], true);
        check(&["https://a.example"], true);
        check(&["https://a.example", "https://a.example"], false);
        check(&["https://a.example.evil"], false);
        check(&["null"], false);
        assert!(!is_allowed(&HeaderMap::new(), &allowed, Permission::Deny));
    }
}
