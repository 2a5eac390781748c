//! The tower layers: [`Guard`] turns whatever a request carries into one identity, [`Require`] asks more of it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, Request, Response, header::AUTHORIZATION, request::Parts};
use symbolon_core::{
    oauth::{dpop::Proof, jwk::Thumbprint},
    secret::SecretText,
    session::Assurance,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Authority,
    admit::{Carried, Rules, admit_parts},
    dpop,
    error::Refusal,
    identity::Identity,
    os::now,
    step_up::StepUp,
};

/// A guard has taken note of this proof.
#[derive(Clone)]
struct Spent(Proof);

/// The layer in front of an application's routes. A request that gets through it has an [`Identity`] in its extensions,
/// or is anonymous where that is allowed.
///
/// * [`Guard::required`] answers whoever has no identity.
/// * [`Guard::optional`] also lets requests through that carry nothing, and those whose *cookie* no longer counts:
///   browsers send cookies by themselves, and a page must be able to lead to the login. Then the extensions hold the
///   [`Refusal`], so that the page can say why. A bad `Authorization` header was sent on purpose and is refused; so
///   is everything ambiguous, cross-origin or undecidable.
///
/// The guard never sets or removes a cookie. A late answer to an old request would remove the cookie that a login has
/// just set; logging in overwrites a dead one anyway.
///
/// CORS preflights carry no credential: put the CORS layer outside of this one.
///
/// Cheap to clone.
pub struct Guard<A>(Arc<Shared<A>>);

struct Shared<A> {
    rules: Rules,
    authority: A,
    required: bool,
}

impl<A> Clone for Guard<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> fmt::Debug for Guard<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { rules, required, .. } = &*self.0;
        f.debug_struct("Guard")
            .field("rules", rules)
            .field("required", required)
            .finish_non_exhaustive()
    }
}

impl<A: Authority> Guard<A> {
    /// Only requests with an identity get through.
    pub fn required(rules: Rules, authority: A) -> Self {
        Self(Arc::new(Shared { rules, authority, required: true }))
    }

    /// Anonymous requests get through, too.
    pub fn optional(rules: Rules, authority: A) -> Self {
        Self(Arc::new(Shared { rules, authority, required: false }))
    }

    /// Who a request is: `None` when it carries no credential. This is what the layer asks, for those who have no
    /// tower service to wrap.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with.
    pub async fn identify(&self, request: &Parts) -> Result<Option<Identity>, Refusal> {
        Ok(self.recognise(request).await?.map(|(identity, _)| identity))
    }

    /// Who a request is, and the proof that was spent for it.
    async fn recognise(
        &self,
        request: &Parts,
    ) -> Result<Option<(Identity, Option<Proof>)>, Refusal> {
        let carried = admit_parts(&self.0.rules, request)?;
        if matches!(carried, Carried::Nothing) {
            return Ok(None);
        }
        let claims = self.0.authority.identify(&carried, request).await?;
        let proof = match (claims.key, &carried) {
            (None, Carried::Dpop(_)) => return Err(Refusal::InvalidToken),
            (None, _) => None,
            (Some(key), Carried::Dpop(token)) => Some(self.spend(key, token, request)?),
            // A stolen token, or a client that forgot half of it (RFC 9449, section 7.2).
            (Some(_), _) => return Err(Refusal::InvalidToken),
        };
        Ok(Some((Identity::new(claims, carried), proof)))
    }

    /// The proof that the sender holds the key of this token, used for this request.
    fn spend(
        &self,
        key: Thumbprint,
        token: &SecretText,
        request: &Parts,
    ) -> Result<Proof, Refusal> {
        let (proofs, now) = (self.0.rules.proofs(), now());
        let url = self.0.rules.url(request.uri.path());
        let (headers, method) = (&request.headers, request.method.as_str());
        let target = dpop::Request { headers, method, url: &url, token: Some(token) };
        let proof = proofs.prove(&target, key, now)?;
        // An outer guard has taken note of it: this is still the same request.
        if request.extensions.get::<Spent>().is_none_or(|spent| spent.0 != proof) {
            proofs.spend(&proof, now)?;
        }
        Ok(proof)
    }

    async fn mark(&self, request: &mut Parts) -> Result<(), Refusal> {
        // What an outer guard found counts no more: this one may have other rules.
        request.extensions.remove::<Identity>();
        request.extensions.remove::<Refusal>();
        match self.recognise(request).await {
            Ok(Some((identity, proof))) => {
                request.extensions.insert(identity);
                if let Some(proof) = proof {
                    request.extensions.insert(Spent(proof));
                }
                Ok(())
            }
            Ok(None) if self.0.required => Err(Refusal::LoginRequired),
            Ok(None) => Ok(()),
            Err(refusal) if self.passes_for_anonymous(request, &refusal) => {
                request.extensions.insert(refusal);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn passes_for_anonymous(&self, request: &Parts, refusal: &Refusal) -> bool {
        !self.0.required
            && refusal.is_spent_credential()
            && !request.headers.contains_key(AUTHORIZATION)
    }
}

impl<S, A> Layer<S> for Guard<A> {
    type Service = Guarded<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner, guard: self.clone() }
    }
}

/// A service behind a [`Guard`].
pub struct Guarded<S, A> {
    inner: S,
    guard: Guard<A>,
}

impl<S: Clone, A> Clone for Guarded<S, A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: self.guard.clone() }
    }
}

impl<S: fmt::Debug, A> fmt::Debug for Guarded<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("inner", &self.inner).field("guard", &self.guard).finish()
    }
}

impl<S, A, B, R> Service<Request<B>> for Guarded<S, A>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    A: Authority,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready must be the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match guard.mark(&mut parts).await {
                Ok(()) => inner.call(Request::from_parts(parts, body)).await,
                Err(refusal) => Ok(refusal.into_response()),
            }
        })
    }
}

/// One thing that is asked of an identity: as a layer inside a [`Guard`], or as a check in a handler. For several, a tuple of
/// them is a layer, too: `.layer((Require::login(), Require::role("admin")))`.
///
/// ```
/// use symbolon_guard::{testing, Refusal, Require};
/// let admin = testing::claims().role("admin").bearer("token");
/// assert_eq!(Require::role("admin").check(Some(&admin)), Ok(()));
/// assert_eq!(Require::role("owner").check(Some(&admin)), Err(Refusal::Forbidden));
/// assert_eq!(Require::role("admin").check(None), Err(Refusal::LoginRequired));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Require(Need);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Login,
    Role(Arc<str>),
    Scope(Arc<str>),
    StepUp(StepUp),
}

impl Require {
    /// A user who has logged in: no visitor, no machine client.
    pub const fn login() -> Self {
        Self(Need::Login)
    }

    /// A subject that has this role.
    pub fn role(role: &str) -> Self {
        Self(Need::Role(role.into()))
    }

    /// A credential that has this scope.
    pub fn scope(scope: &str) -> Self {
        Self(Need::Scope(scope.into()))
    }

    /// A login of at least this strength.
    pub const fn assurance(level: Assurance) -> Self {
        Self::step_up(StepUp { assurance: Some(level), max_age: None })
    }

    /// A login that is at most so old. Leave it long enough for the way back from the login page, and for clocks that
    /// differ: minutes.
    pub const fn max_age(age: Duration) -> Self {
        Self::step_up(StepUp { assurance: None, max_age: Some(age) })
    }

    /// A login of this strength and age. Who has none is told of both at once (RFC 9470).
    pub const fn step_up(needed: StepUp) -> Self {
        Self(Need::StepUp(needed))
    }

    /// Checks an identity, or its absence.
    ///
    /// # Errors
    /// [`Refusal::LoginRequired`] without an identity; otherwise what is missing.
    pub fn check(&self, identity: Option<&Identity>) -> Result<(), Refusal> {
        let identity = identity.ok_or(Refusal::LoginRequired)?;
        let (met, refusal) = match &self.0 {
            Need::Login => (identity.subject.is_some(), Refusal::LoginRequired),
            Need::Role(role) => (identity.has_role(role), Refusal::Forbidden),
            Need::Scope(scope) => {
                (identity.has_scope(scope), Refusal::InsufficientScope((&**scope).into()))
            }
            Need::StepUp(needed) => {
                (needed.is_met_by(identity, now()), Refusal::InsufficientAuthentication(*needed))
            }
        };
        if met { Ok(()) } else { Err(refusal) }
    }
}

/// The identity that the guard found; or why there is none.
pub(crate) fn found(extensions: &Extensions) -> Result<&Identity, Refusal> {
    extensions
        .get::<Identity>()
        .ok_or_else(|| extensions.get::<Refusal>().cloned().unwrap_or(Refusal::LoginRequired))
}

impl<S> Layer<S> for Require {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        Required { inner, require: self.clone() }
    }
}

/// A service behind a [`Require`].
#[derive(Debug, Clone)]
pub struct Required<S> {
    inner: S,
    require: Require,
}

impl<S, B, R> Service<Request<B>> for Required<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: From<String> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let checked =
            found(request.extensions()).and_then(|identity| self.require.check(Some(identity)));
        match checked {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(refusal) => Box::pin(std::future::ready(Ok(refusal.into_response()))),
        }
    }
}
