//! One application behind one layer of sessions: `symbolon-bench-sessions WHICH [STORE]`, where the store is the URL of a
//! Redis or a PostgreSQL server. All of them have the same routes, cookie name and idle limit, and answer `"ok"`:
//!
//! * `/none` does not touch the session,
//! * `/read` reads a key,
//! * `/write` gives that key another value,
//! * `/new` opens a visitor's session, with that key in it,
//! * `/login` opens a session of a user of its own, with that key in it,
//! * `/weight` says how many bytes the process has in RAM.
//!
//! It prints a line of JSON: its version, and the port where it listens.

use std::{
    error::Error,
    io::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

mod actix;
mod ours;
mod tower;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const COOKIE: &str = "session";
const KEY: &str = "number";
const USER: &str = "user";
const IDLE_SECS: u32 = 3600;
const OK: &str = r#""ok""#;
const NOTHING: &str = r#""nothing""#;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let which = words.next().ok_or("which one?")?;
    let store = words.next().unwrap_or_default();
    if which.starts_with("actix") {
        return actix::serve(&which, &store);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (router, version) = match which.as_str() {
            "axum" => (tower::bare(), version("axum")),
            "tower-memory" | "tower-redis" | "tower-redis-idle" => {
                (tower::router(&which, &store).await?, version("tower-sessions"))
            }
            _ => (ours::router(&which, &store).await?, version("symbolon-guard")),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        ready(&version, listener.local_addr()?.port())?;
        Ok(axum::serve(listener, router).await?)
    })
}

fn ready(version: &str, port: u16) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, r#"{{"version":"{version}","port":{port}}}"#)?;
    Ok(output.flush()?)
}

/// The version that the lock file has of a package.
fn version(package: &str) -> String {
    let named = format!("name = \"{package}\"\nversion = \"");
    let rest = include_str!("../Cargo.lock").split(&named).nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// A value that was not there before.
fn next() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1_000_000);
    LAST.fetch_add(1, Relaxed)
}

fn weight() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
    format!("bytes={}&", 1024 * kib.unwrap_or(0_u64))
}
