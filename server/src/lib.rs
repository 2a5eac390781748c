//! Symbolon, the server: `cli`, `http` and `jobs` translate; `ops` are the acts; `store`, `mail`, `password` and `reach`
//! reach the world; `symbolon-core` decides.

pub mod app;
pub mod attempts;
pub mod cli;
pub mod config;
pub mod forward;
pub mod http;
pub mod jobs;
pub mod key_sets;
pub mod listen;
pub mod live;
pub mod machines;
pub mod ops;
pub mod os;
pub mod password;
pub mod reach;
pub mod store;
pub mod telemetry;
pub mod ui;
