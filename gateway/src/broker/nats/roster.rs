//! What pods tell each other of who came to a channel and who went.
//!
//! Each pod knows its own members. It says how many there are with whatever it tells, so that all
//! know when a channel is a crowd, of which nobody is named any more.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::talk::check_pod;
use crate::broker::roster::{Member, News};

/// Something that a pod tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Which pod: eight hexadecimal digits.
    pub pod: String,
    /// How many members of the channel it has now.
    pub count: usize,
    /// What happened there.
    pub news: News,
}

#[derive(Serialize, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    pod: Cow<'a, str>,
    count: usize,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    join: Option<Named<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    leave: Option<Named<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Named<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    connection: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
}

/// What to tell the other pods.
pub fn encode(pod: &str, count: usize, news: &News) -> Vec<u8> {
    let (join, leave) = match news {
        News::Join(member) => (Some(member), None),
        News::Leave(member) => (None, Some(member)),
        News::Changed { .. } => (None, None),
    };
    let named = |member: &Member| {
        let info = member.info.as_deref().and_then(|it| serde_json::from_str(it).ok());
        let Member { user, connection, .. } = member;
        serde_json::json!({"user": user, "connection": connection, "info": info.unwrap_or(serde_json::Value::Null)})
    };
    let mut event = serde_json::json!({"pod": pod, "count": count});
    if let Some(object) = event.as_object_mut() {
        for (name, member) in [("join", join), ("leave", leave)] {
            object.extend(member.map(|it| (name.to_owned(), named(it))));
        }
    }
    event.to_string().into_bytes()
}

/// What another pod told; `None` where it is of no form that is known, or of what is no pod's name.
pub fn decode(event: &[u8]) -> Option<Told> {
    let Event { pod, count, join, leave } = serde_json::from_slice(event).ok()?;
    check_pod(&pod).ok()?;
    let member = |it: Named<'_>| Member {
        user: it.user.map(|it| it.as_ref().into()),
        connection: it.connection.as_ref().into(),
        info: it.info.map(|it| it.get().into()),
    };
    let news = match (join, leave) {
        (Some(joined), _) => News::Join(member(joined)),
        (None, Some(left)) => News::Leave(member(left)),
        (None, None) => News::Changed { total: count },
    };
    Some(Told { pod: pod.into_owned(), count, news })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives() {
        let member = Member {
            user: Some("al \"x\"".into()),
            connection: "00ff".into(),
            info: Some("{\"a\":[1,2]}".into()),
        };
        let anonymous = Member { user: None, info: None, ..member.clone() };
        for news in [News::Join(member), News::Leave(anonymous), News::Changed { total: 7 }] {
            let told = decode(&encode("12345678", 7, &news));
            assert_eq!(told, Some(Told { pod: "12345678".to_owned(), count: 7, news }));
        }
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(&encode(&"1".repeat(9), 7, &News::Changed { total: 7 })), None);
        assert_eq!(decode(b"[]"), None);
    }
}
