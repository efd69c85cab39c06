//! The manifest and its Secrets, as everybody else reads them.

pub mod load;
pub mod settings;
