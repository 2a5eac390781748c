//! The tower layer in front of an application's routes. Whatever a request carries, a session cookie or an access
//! token, the [`Guard`] applies the checks that belong to it and turns it into one [`Identity`], or one [`Refusal`].
//!
//! A layer on a router, and a handler that knows who asks:
//!
//! ```
//! use axum::{Router, routing::get};
//! use symbolon_guard::{Guard, Identity, Rules, testing};
//! # use {axum::body::Body, http::Request, tower::ServiceExt};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = Rules::new("https://shop.example")?;
//! let authority = testing::Known::default().with("a.token", testing::claims());
//! let app: Router = Router::new()
//!     .route("/me", get(|me: Identity| async move { format!("session {}", me.session) }))
//!     .layer(Guard::required(rules, authority));
//! # let ask = |token| Request::get("/me").header("authorization", token).body(Body::empty());
//! # assert_eq!(app.clone().oneshot(ask("Bearer a.token")?).await?.status(), 200);
//! # assert_eq!(app.oneshot(ask("Bearer another")?).await?.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! Pages for everybody, one of them for some:
//!
//! ```
//! use axum::{Router, routing::get};
//! use symbolon_guard::{Guard, Identity, Require, Rules, testing};
//! # use {axum::body::Body, http::Request, tower::ServiceExt};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = Rules::new("https://shop.example")?;
//! let authority = testing::Known::default().with("syms_admin", testing::claims().role("admin"));
//! let app: Router = Router::new()
//!     .route("/stock", get(|| async { "1 lamp" }).layer(Require::role("admin")))
//!     .route("/", get(|who: Option<Identity>| async move { format!("{}", who.is_some()) }))
//!     .layer(Guard::optional(rules, authority));
//! # let ask = |to, value| Request::get(to).header("cookie", value).body(Body::empty());
//! # let admin = "__Host-symbolon=syms_admin";
//! # assert_eq!(app.clone().oneshot(ask("/stock", admin)?).await?.status(), 200);
//! # assert_eq!(app.clone().oneshot(ask("/stock", "")?).await?.status(), 401);
//! # assert_eq!(app.oneshot(ask("/", "__Host-symbolon=syms_ended")?).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! With a Symbolon server in another process, asked about every request:
//!
//! ```
//! # #[cfg(feature = "remote")] mod example {
//! use axum::{Router, routing::get};
//! use symbolon_guard::{Guard, Identity, Rules, remote::{Remote, Settings}};
//! # use symbolon_guard::SecretText;
//! # use {axum::body::Body, http::Request, tower::ServiceExt};
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let (server, secret) = (format!("http://{}", socket.local_addr()?), SecretText::default());
//! # let answer = r#"{"active":true,"token_type":"Bearer","client_id":"app","sid":"AAAAAAAAAAAAAAAAAAAAAA"}"#;
//! # let introspect = axum::routing::post(move || async move { answer });
//! # let routes = Router::new().route("/oauth2/introspect", introspect);
//! # tokio::spawn(async { axum::serve(socket, routes).await });
//! let authority = Remote::new(Settings::new(server, "cart-api".parse()?, secret))?;
//! let app: Router = Router::new()
//!     .route("/cart", get(|me: Identity| async move { format!("the cart of {}", me.session) }))
//!     .layer(Guard::required(Rules::new("https://shop.example")?, authority));
//! # let ask = Request::get("/cart").header("authorization", "Bearer a.token").body(Body::empty());
//! # assert_eq!(app.oneshot(ask?).await?.status(), 200);
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "remote")] example::main().unwrap();
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`admit()`] | which half a request carries, which checks follow |
//! | [`cookie`] | the names and attributes of cookies, strict reading |
//! | [`dpop`] | proofs that the sender holds the key of a token |
//! | [`Guard`], [`Require`] | the layers |
//! | [`Refusal`] | the answer to those who do not get in |
//! | [`proven`] | what credentials have proven lately |
//! | [`remote`] | strict mode: ask a server about every request |
//! | [`follow`] | decide here, and hear of every end |
//! | [`session`] | sessions of the application's own, without a server (feature `sessions`) |
//! | [`store`] | where they rest (feature `sessions`) |
//! | [`testing`] | identities for an application's own tests |

// The examples are tests, too.
#[cfg(test)]
extern crate self as symbolon_guard;

use std::sync::Arc;

use http::request::Parts;

mod admit;
#[cfg(feature = "axum")]
mod axum;
pub mod cookie;
pub mod dpop;
mod error;
#[cfg(feature = "remote")]
pub mod follow;
mod identity;
#[cfg(feature = "remote")]
mod introspection;
mod layer;
#[cfg(feature = "remote")]
mod link;
mod os;
#[cfg(feature = "remote")]
pub mod proven;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "sessions")]
pub mod session;
mod step_up;
#[cfg(feature = "sessions")]
pub mod store;
pub mod testing;

pub use admit::{CSRF_HEADER, Carried, Half, Rules, admit};
pub use error::Refusal;
pub use identity::{Claims, Identity};
pub use layer::{Guard, Guarded, Require, Required};
pub use step_up::StepUp;
// The types of `remote::Settings` and `follow::Settings` that an application has to name.
pub use symbolon_core::{
    client::ClientId,
    secret::SecretText,
    token::{Actor, TokenType},
};

/// Who says what a credential proves.
pub trait Authority: Send + Sync + 'static {
    /// Finds out whose credential it is. `carried` is never [`Carried::Nothing`] and was [`admit`]ted: its form and the
    /// CSRF checks are done. An implementation must hold a credential to its half: a session cookie's text in a bearer
    /// header proves nothing, and the other way round. The key that a token is bound to goes into [`Claims::key`]: the
    /// guard asks for the proof.
    ///
    /// `request` is for who must know where the request comes from; decide by `carried` alone.
    ///
    /// # Errors
    /// [`Refusal::InvalidToken`] for every credential that lets nobody in, whatever is wrong with it;
    /// [`Refusal::Renewed`] for an earlier generation of a live session's cookie; [`Refusal::Unavailable`] when it
    /// cannot be known.
    fn identify(
        &self,
        carried: &Carried,
        request: &Parts,
    ) -> impl Future<Output = Result<Arc<Claims>, Refusal>> + Send;
}

impl<A: Authority> Authority for Arc<A> {
    async fn identify(&self, carried: &Carried, request: &Parts) -> Result<Arc<Claims>, Refusal> {
        (**self).identify(carried, request).await
    }
}
