//! `/api/v1`: first-party JSON.

pub mod account;
pub mod code;
pub mod data;
pub mod session;
pub mod tokens;
