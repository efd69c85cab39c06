//! The broker between pods: names and words on the wire, and the rules by which a pod follows what
//! others publish. Pure; the room `nats` carries it out.

pub mod names;
pub mod wire;

pub mod follow;
pub mod link;
pub mod roster;

pub mod pods;

pub mod peers;
pub mod reach;
pub mod talk;
pub mod users;
