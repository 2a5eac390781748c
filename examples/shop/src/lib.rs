//! A small shop, as a user of Symbolon would write it: rendered on the server, without a user table, a session table or
//! a password of its own.
//!
//! * Who somebody is, the guard asks Symbolon at every request (strict mode), by the same cookie that Symbolon set.
//! * The cart lives in Symbolon's session data. A stranger who puts something in gets a visitor's session; logging in
//!   carries the cart over; logging out ends it.
//! * `GET /api/cart` also takes access tokens of the same login, see `client.sh`.
//!
//! | module | what it knows |
//! |---|---|
//! | `symbolon` | the questions that the shop's server side asks |
//! | `routes` | who may do what, and what happens |
//! | `page` | what every page shows, in which language |
//! | `goods` | what is sold |

use std::{error::Error, future::Future, io, net::SocketAddr};

use symbolon_guard::SecretText;
use tokio::net::TcpListener;

mod goods;
mod page;
mod routes;
mod symbolon;

/// Where the shop is, where Symbolon is, and who the shop is there.
///
/// Browsers must see both under one host: they share the session cookie. That is so for two ports of `localhost`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL under which browsers see the shop, without a path: `http://localhost:8081`. It is also the audience of the
    /// access tokens that the shop takes.
    pub public_url: String,
    /// Symbolon's public URL, with its path: `http://localhost:8080`, `http://localhost:8080/auth`.
    pub symbolon_url: String,
    /// The shop's client at Symbolon; of the kind *confidential*, with `public_url` among its audiences.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretText,
}

/// Serves the shop until `shutdown` is ready and the requests under way are answered.
///
/// # Errors
/// `InvalidInput` says which setting to change; others come from the listener.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let invalid = |error: Box<dyn Error + Send + Sync>| {
        io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
    };
    let service = routes::build(settings)
        .map_err(invalid)?
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}
