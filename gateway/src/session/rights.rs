//! Who may do what with a channel: by the rule first, by the token then.

use headgate_crds::{
    v1alpha1::{Access, ChannelRule},
    value::ChannelPattern,
};

use crate::auth::identity::{Grants, Identity};

fn may(access: Access, identity: &Identity, granted: &[ChannelPattern], channel: &str) -> bool {
    match access {
        Access::Anyone => true,
        Access::Authenticated => identity.user.is_some(),
        Access::Granted => Grants::any(granted, channel),
        // No token widens it.
        Access::Nobody => false,
    }
}

/// Whether a client may subscribe to a channel that has this rule.
pub fn may_subscribe(rule: Option<&ChannelRule>, identity: &Identity, channel: &str) -> bool {
    let named = identity.grants.channels.iter().any(|it| it == channel);
    rule.is_some_and(|rule| {
        may(rule.subscribe, identity, &identity.grants.subscribe, channel)
            || named && rule.subscribe != Access::Nobody
    })
}

/// Whether a client may publish to a channel that has this rule.
pub fn may_publish(rule: Option<&ChannelRule>, identity: &Identity, channel: &str) -> bool {
    rule.is_some_and(|rule| may(rule.publish, identity, &identity.grants.publish, channel))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headgate_crds::v1alpha1::PresenceMode;

    use super::*;

    #[test]
    fn a_grant_never_widens_nobody() {
        let grants = Grants { subscribe: vec![ChannelPattern::any()], ..Grants::default() };
        let granted = Identity { grants: Arc::new(grants), ..Identity::default() };
        let user = Identity { user: Some("al".into()), ..Identity::default() };
        let check = |access, identity: &Identity, expected| {
            let rule = ChannelRule {
                pattern: ChannelPattern::any(),
                subscribe: access,
                publish: access,
                presence: PresenceMode::Disabled,
                history: None,
            };
            assert_eq!(may_subscribe(Some(&rule), identity, "a"), expected, "{access:?}");
        };
        check(Access::Anyone, &Identity::default(), true);
        check(Access::Authenticated, &granted, false);
        check(Access::Authenticated, &user, true);
        check(Access::Granted, &user, false);
        check(Access::Granted, &granted, true);
        check(Access::Nobody, &granted, false);
        assert!(!may_subscribe(None, &granted, "a"));
    }
}
