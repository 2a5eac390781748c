//! The tower layer: a [`Session`] for every request, and what the answer tells the client to hold.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY},
    request::Parts,
};
use symbolon_core::secret::SecretText;
use tower_layer::Layer;
use tower_service::Service;

use super::{Csrf, Sessions, Transport, handle::Session, secret::Secret, state::Send as Outgoing};
use crate::{
    cookie::{InvalidCookies, each},
    error::Refusal,
};

/// How a request carries its session, and so how the answer does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Header,
    Cookie,
}

/// What a request carries that is genuine.
pub(super) enum Carried {
    Nothing,
    Own(Secret),
    /// Signed by the system that was here before.
    Earlier(SecretText),
}

impl Carried {
    /// The secret of the session, and what it was made of, if that is an earlier system's.
    pub(super) fn split(self) -> (Option<Secret>, Option<SecretText>) {
        match self {
            Self::Nothing => (None, None),
            Self::Own(secret) => (Some(secret), None),
            Self::Earlier(earlier) => (Some(Secret::of_earlier(&earlier)), Some(earlier)),
        }
    }
}

impl From<Option<Secret>> for Carried {
    fn from(own: Option<Secret>) -> Self {
        own.map_or(Self::Nothing, Self::Own)
    }
}

impl Sessions {
    /// Finds what the request carries, and applies the checks that belong to it. What no key of ours has signed is as
    /// good as nothing; two genuine ones are ambiguous: one of them was planted.
    fn admit(&self, request: &Parts) -> Result<(Way, Carried), Refusal> {
        let settings = self.settings();
        let in_header = match &settings.transport {
            Transport::Cookie => None,
            Transport::Header(name) => Some((name, true)),
            Transport::HeaderOrCookie(name) => Some((name, request.headers.contains_key(name))),
        };
        if let Some((name, true)) = in_header {
            return Ok((Way::Header, self.in_header(&request.headers, name)?.into()));
        }
        let mut found: Option<Secret> = None;
        each(&request.headers, |name, value| {
            if name == self.cookie().name.as_bytes()
                && let Some(secret) = settings.keys.verify(self.name(), value)
                && found.replace(secret.clone()).is_some_and(|other| other != secret)
            {
                return Err(InvalidCookies::Repeated(crate::cookie::Cookie::Session));
            }
            Ok(())
        })
        .map_err(|error| match error {
            InvalidCookies::TooLarge => Refusal::TooManyCookies,
            InvalidCookies::Repeated(_) => Refusal::InvalidRequest,
        })?;
        let carried = match (found, &settings.arrivals) {
            (None, Some(arrivals)) => {
                arrivals.recognise(&request.headers).map_or(Carried::Nothing, Carried::Earlier)
            }
            (found, _) => found.into(),
        };
        if !matches!(carried, Carried::Nothing) || settings.csrf == Csrf::Every {
            settings.rules.check_origin(&request.method, &request.headers)?;
        }
        Ok((Way::Cookie, carried))
    }

    fn in_header(&self, headers: &HeaderMap, name: &HeaderName) -> Result<Option<Secret>, Refusal> {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Refusal::InvalidRequest),
            (Some(value), None) => Ok(self.settings().keys.verify(self.name(), value.as_bytes())),
            (None, _) => Ok(None),
        }
    }

    /// Writes into the answer what the client is to hold.
    fn write(&self, way: Way, headers: &mut HeaderMap, send: Option<Outgoing>, asked: bool) {
        let header = match (&self.settings().transport, way) {
            (Transport::Header(name) | Transport::HeaderOrCookie(name), Way::Header) => Some(name),
            _ => None,
        };
        if asked {
            headers.append(VARY, header.unwrap_or(&COOKIE).clone().into());
        }
        let value = match (send, header) {
            (None, _) => return,
            (Some(Outgoing::Set(secret, max_age)), None) => {
                let text = self.settings().keys.sign(self.name(), &secret);
                self.cookie().set(&text, max_age)
            }
            (Some(Outgoing::Clear), None) => self.cookie().clear(),
            (Some(Outgoing::Set(secret, _)), Some(_)) => {
                let text = self.settings().keys.sign(self.name(), &secret);
                HeaderValue::from_str(text.expose()).ok().map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
            }
            (Some(Outgoing::Clear), Some(_)) => Some(HeaderValue::from_static("")),
        };
        let Some(value) = value else { return };
        match header {
            Some(name) => drop(headers.insert(name.clone(), value)),
            None => drop(headers.append(SET_COOKIE, value)),
        }
        // Whatever has it must not be kept by a cache that serves others.
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

impl<S> Layer<S> for Sessions {
    type Service = WithSessions<S>;

    fn layer(&self, inner: S) -> WithSessions<S> {
        WithSessions { inner, sessions: self.clone() }
    }
}

/// A service behind [`Sessions`].
#[derive(Debug, Clone)]
pub struct WithSessions<S> {
    inner: S,
    sessions: Sessions,
}

impl<S, B, R> Service<Request<B>> for WithSessions<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String> + Send,
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
        let sessions = self.sessions.clone();
        let (mut parts, body) = request.into_parts();
        let outer = parts.extensions.get::<Session>().cloned();
        if outer.as_ref().is_some_and(|session| session.is_of(&sessions)) {
            // The layer stands there twice.
            return Box::pin(inner.call(Request::from_parts(parts, body)));
        }
        let (way, carried) = match sessions.admit(&parts) {
            Ok(admitted) => admitted,
            Err(refusal) => return Box::pin(async { Ok(refusal.into_response()) }),
        };
        let session = Session::begin(sessions.clone(), carried, outer);
        parts.extensions.insert(session.clone());
        let answer = inner.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let mut response = answer.await?;
            let (saved, send, asked) = session.finish().await;
            if let Err(error) = saved {
                response = error.into_response();
            }
            sessions.write(way, response.headers_mut(), send, asked);
            Ok(response)
        })
    }
}
