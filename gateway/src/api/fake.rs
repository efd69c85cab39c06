//! A gateway for tests: it notes what it is asked, and answers as if it were small.

use std::sync::Mutex;

use super::{
    error::ApiError,
    gateway::{Disconnect, Gateway, Message, Page, Publish, Revocation, Scope, Target},
    keys::ApiKeys,
    operation::Operation,
    status::{Broker, Config, Drain, DrainState, Reason, Secrets, State, Status},
    views::{
        Channel, Channels, Connection, Connections, Counted, HistoryPage, Json, Member, Place,
        Pods, Presence, Stats,
    },
};
use crate::protocol::{
    position::{ClientPosition, Epoch, Position},
    topic::Topic,
};
