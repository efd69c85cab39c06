//! The queries of lists and histories. Unknown and repeated parameters are refused: a typo that
//! silently widens a question gives a wrong answer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    error::ApiError,
    gateway::{Page, Scope},
    percent,
};
use crate::protocol::position::{ClientPosition, OFFSET_MAX};

/// The longest page of connections or channels.
const LIST_LIMIT_MAX: usize = 1000;
/// A page, unless the request says otherwise.
const LIST_LIMIT: usize = 100;
/// The longest history.
const HISTORY_LIMIT_MAX: usize = 100;
/// The longest cursor that was ever given out stands for a name of 255 bytes.
const CURSOR_BYTES_MAX: usize = 340;
/// Any text may be offered as an epoch, and equals none of ours.
const EPOCH_BYTES_MAX: usize = 64;

/// The parameters of a request, each of them once.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (percent::decode_query(name)?, percent::decode_query(value)?);
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(invalid(format!("unknown parameter {name:?}; there are: {known}")));
            }
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(invalid(format!("{name} is there twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        match self.value("limit").map(number) {
            None => Ok(default),
            Some(Some(limit)) if (1..=max as u64).contains(&limit) => {
                Ok(usize::try_from(limit).unwrap_or(max))
            }
            Some(_) => Err(invalid(format!("limit must be 1 to {max}"))),
        }
    }

    fn scope(&self) -> Result<Scope, ApiError> {
        match self.value("scope") {
            None | Some("gateway") => Ok(Scope::Gateway),
            Some("pod") => Ok(Scope::Pod),
            Some(_) => Err(invalid("scope must be gateway or pod")),
        }
    }
}

/// `?scope=`
pub fn scope(query: Option<&str>) -> Result<Scope, ApiError> {
    Query::parse(query, &["scope"])?.scope()
}

/// `?limit=&cursor=&scope=`
pub fn page(query: Option<&str>) -> Result<Page, ApiError> {
    let query = Query::parse(query, &["limit", "cursor", "scope"])?;
    let after = query.value("cursor").map(name_at).transpose()?;
    Ok(Page { after, limit: query.limit(LIST_LIMIT, LIST_LIMIT_MAX)?, scope: query.scope()? })
}

/// `?epoch=&offset=&limit=`, the first two of them together or not at all.
pub fn history(query: Option<&str>) -> Result<(Option<ClientPosition>, usize), ApiError> {
    let query = Query::parse(query, &["epoch", "offset", "limit"])?;
    let limit = query.limit(HISTORY_LIMIT_MAX, HISTORY_LIMIT_MAX)?;
    let since = match (query.value("epoch"), query.value("offset").map(number)) {
        (None, None) => None,
        (Some(epoch), Some(Some(offset)))
            if offset <= OFFSET_MAX && epoch.len() <= EPOCH_BYTES_MAX =>
        {
            Some(ClientPosition { epoch: epoch.parse().ok(), offset })
        }
        _ => return Err(invalid("epoch and offset belong together, offset 0 to 2^53-1")),
    };
    Ok((since, limit))
}

/// No parameters.
pub fn none(query: Option<&str>) -> Result<(), ApiError> {
    Query::parse(query, &[]).map(|_| ())
}

/// What a page gives so that the next one begins after `name`. Opaque to clients.
pub fn cursor(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

fn name_at(cursor: &str) -> Result<String, ApiError> {
    let name = if cursor.len() <= CURSOR_BYTES_MAX { BASE64_URL_SAFE_NO_PAD.decode(cursor).ok() } else { None };
    name.and_then(|name| String::from_utf8(name).ok())
        .ok_or_else(|| invalid("cursor must be what the page before gave"))
}

/// Digits and nothing else; `str::parse` would take a `+` too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn invalid(words: impl Into<String>) -> ApiError {
    ApiError::Invalid(words.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::position::Epoch;

    #[test]
    fn a_page_is_what_was_asked_for_or_refused() {
        let page_of = |after: Option<&str>, limit, scope| {
            Some(Page { after: after.map(str::to_owned), limit, scope })
        };
        let table = [
            (None, page_of(None, 100, Scope::Gateway)),
            (Some(""), page_of(None, 100, Scope::Gateway)),
            (Some("limit=7&scope=pod"), page_of(None, 7, Scope::Pod)),
            (Some("cursor=cm9vbS4x&limit=1000"), page_of(Some("room.1"), 1000, Scope::Gateway)),
            (Some("limit=0"), None),
            (Some("limit=1001"), None),
            (Some("limit=%2B1"), None),
            (Some("limit="), None),
            (Some("limit=99999999999999999999"), None),
            (Some("limit=1&limit=1"), None),
            (Some("limits=1"), None),
            (Some("scope=all"), None),
            (Some("cursor=%00"), None),
        ];
        for (query, expected) in table {
            assert_eq!(page(query).ok(), expected, "{query:?}");
        }
    }

    #[test]
    fn a_position_is_whole_or_refused() {
        let epoch = Epoch(1);
        let at = |epoch, offset| Some((Some(ClientPosition { epoch, offset }), 100));
        let table = [
            (None, Some((None, 100))),
            (Some("epoch=0000000000000001&offset=5"), at(Some(epoch), 5)),
            (Some("epoch=other&offset=0"), at(None, 0)),
            (Some("epoch=other"), None),
            (Some("offset=1"), None),
            (Some("epoch=x&offset=9007199254740992"), None),
            (Some("limit=101"), None),
        ];
        for (query, expected) in table {
            assert_eq!(history(query).ok(), expected, "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_name(name in "\\PC{0,60}") {
            let query = format!("cursor={}", cursor(&name));

            prop_assert_eq!(page(Some(&query)).unwrap().after, Some(name));
        }
    }
}
