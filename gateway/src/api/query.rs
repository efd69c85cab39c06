//! The queries of lists and histories. Unknown and repeated parameters are refused: a typo that
//! silently widens a question gives a wrong answer.

use super::{
    error::ApiError,
    gateway::{Page, Scope},
    percent,
    route::bounded,
};
use crate::protocol::{
    channel::NAME_BYTES_MAX,
    position::{ClientPosition, OFFSET_MAX},
};

/// The longest page of connections or channels.
const LIST_LIMIT_MAX: usize = 1000;
/// A page, unless the request says otherwise.
const LIST_LIMIT: usize = 100;
/// The longest history.
const HISTORY_LIMIT_MAX: usize = 100;
/// The longest name that a page can end with.
const CURSOR_BYTES_MAX: usize = NAME_BYTES_MAX;
/// The longest epoch that may be offered; ours have 16 bytes.
const EPOCH_BYTES_MAX: usize = 64;
/// As many as 2^53-1 has.
const OFFSET_DIGITS_MAX: usize = 16;

/// The parameters of a request, each of them once.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (percent::decode_query(name)?, percent::decode_query(value)?);
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, known));
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

fn unknown(name: &str, known: &[&str]) -> ApiError {
    match known {
        [] => invalid(format!("unknown parameter {name:?}; this path takes none")),
        _ => invalid(format!("unknown parameter {name:?}; there are: {}", known.join(", "))),
    }
}

/// `?scope=`
pub fn scope(query: Option<&str>) -> Result<Scope, ApiError> {
    Query::parse(query, &["scope"])?.scope()
}

/// `?limit=&cursor=&scope=`
pub fn page(query: Option<&str>) -> Result<Page, ApiError> {
    let query = Query::parse(query, &["limit", "cursor", "scope"])?;
    let cursor = |name: &str| bounded("cursor", name.to_owned(), CURSOR_BYTES_MAX);
    let after = query.value("cursor").map(cursor).transpose()?;
    Ok(Page { after, limit: query.limit(LIST_LIMIT, LIST_LIMIT_MAX)?, scope: query.scope()? })
}

/// `?since=<epoch>:<offset>&limit=`
pub fn history(query: Option<&str>) -> Result<(Option<ClientPosition>, usize), ApiError> {
    let query = Query::parse(query, &["since", "limit"])?;
    let since = query.value("since").map(position).transpose()?;
    Ok((since, query.limit(HISTORY_LIMIT_MAX, HISTORY_LIMIT_MAX)?))
}

/// An epoch of another gateway, or of a later version, is none of ours but still an epoch.
fn position(text: &str) -> Result<ClientPosition, ApiError> {
    let is_epoch = |epoch: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=EPOCH_BYTES_MAX).contains(&epoch.len()) && epoch.bytes().all(is_part)
    };
    let is_offset = |offset: &str| offset.len() <= OFFSET_DIGITS_MAX;
    text.split_once(':')
        .filter(|(epoch, offset)| is_epoch(epoch) && is_offset(offset))
        .and_then(|(epoch, offset)| Some((epoch.parse().ok(), number(offset)?)))
        // Nothing comes after the highest offset, nor after one beyond it.
        .map(|(epoch, offset)| ClientPosition { epoch, offset: offset.min(OFFSET_MAX) })
        .ok_or_else(|| invalid("since must be <epoch>:<offset>, as an earlier answer gave them"))
}

/// No parameters.
pub fn none(query: Option<&str>) -> Result<(), ApiError> {
    Query::parse(query, &[]).map(|_| ())
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
            (Some("cursor=a%26+b&limit=1000"), page_of(Some("a& b"), 1000, Scope::Gateway)),
            (Some("limit=0"), None),
            (Some("limit=1001"), None),
            (Some("limit=%2B1"), None),
            (Some("limit="), None),
            (Some("limit=99999999999999999999"), None),
            (Some("limit=1&limit=1"), None),
            (Some("limits=1"), None),
            (Some("scope=all"), None),
            (Some("cursor="), None),
            (Some("cursor=%ff"), None),
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
            (Some("since=0000000000000001:5"), at(Some(epoch), 5)),
            (Some("since=0000000000000001%3A5"), at(Some(epoch), 5)),
            (Some("since=another_one:0"), at(None, 0)),
            (Some("since=x:9999999999999999"), at(None, OFFSET_MAX)),
            (Some("since=x:99999999999999999"), None),
            (Some("since=x"), None),
            (Some("since=x:"), None),
            (Some("since=:1"), None),
            (Some("since=x:-1"), None),
            (Some("since=x:1:1"), None),
            (Some("since=a b:1"), None),
            (Some("epoch=x&offset=1"), None),
            (Some("limit=101"), None),
        ];
        for (query, expected) in table {
            assert_eq!(history(query).ok(), expected, "{query:?}");
        }
    }
}
