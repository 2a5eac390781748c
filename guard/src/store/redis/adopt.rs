//! Live sessions of Express: express-session with connect-redis on the same server.

use std::{fmt, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::HeaderMap;
use serde_json::Value;
use symbolon_core::{secret::SecretText, time::Time};

use super::{
    super::{Answer, Delta, Opening, USER_BYTES_MAX},
    Redis, Trouble, WHOLE_BYTES_MAX, sha1,
};
use crate::{
    cookie::each,
    session::{Adopted, Arrival, Arrivals},
};

/// The longest id of an earlier session.
const ID_BYTES_MAX: usize = 256;

/// Adopts live sessions of express-session whose store was connect-redis.
///
/// Their cookie counts if the old secret has signed it. When it is all that a request holds, the session moves into our
/// store in one step, and the answer sets the cookie of ours; all keys but `cookie` are its data. Requests at the same
/// time agree on one session. Once it is here it has the limits of this application, and whatever ends it here ends it.
///
/// * Switch at once: an Express instance that still runs may write a session back that has moved.
/// * An end of all of a user's sessions reaches those that have not moved only for a quarter of an hour. Until all have
///   moved or run out, end them at the old place, too.
///
/// ```no_run
/// # use std::sync::Arc;
/// use symbolon_guard::{Rules, SecretText, session::{Keys, Sessions, Settings}};
/// use symbolon_guard::store::redis::{self, Redis, adopt::ConnectRedis};
/// # async fn open(rules: Rules, keys: Keys, old: SecretText) -> Result<(), Box<dyn std::error::Error>> {
/// let store = Redis::open(redis::Settings::new("redis://127.0.0.1/")?).await?;
/// let express = ConnectRedis::new(&store, &old)?.user_at("/passport/user");
/// let settings = Settings { arrivals: Some(Arc::new(express)), ..Settings::new(rules, keys) };
/// let sessions = Sessions::new(settings, store)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectRedis {
    store: Redis,
    secrets: Vec<hmac::Key>,
    cookie: String,
    prefix: String,
    user_at: String,
}

impl fmt::Debug for ConnectRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRedis")
            .field("cookie", &self.cookie)
            .field("prefix", &self.prefix)
            .field("user_at", &self.user_at)
            .finish_non_exhaustive()
    }
}

impl ConnectRedis {
    /// Sessions on the same server and database as `store`, signed with `secret`: in the cookie `connect.sid`, at keys
    /// `sess:…`, the user at `/passport/user` unless said otherwise.
    ///
    /// # Errors
    /// [`Trouble::CrossSlot`] in a cluster: there the old sessions rest on other nodes than ours, and cannot move in one
    /// step.
    pub fn new(store: &Redis, secret: &SecretText) -> Result<Self, Trouble> {
        if store.0.is_cluster {
            let why = "sessions of connect-redis cannot be adopted in a cluster";
            return Err(Trouble::CrossSlot(why.to_owned()));
        }
        let this = Self {
            store: store.clone(),
            secrets: Vec::new(),
            cookie: "connect.sid".to_owned(),
            prefix: "sess:".to_owned(),
            user_at: "/passport/user".to_owned(),
        };
        Ok(this.or(secret))
    }

    /// Also accepts what this secret has signed.
    #[must_use]
    pub fn or(mut self, secret: &SecretText) -> Self {
        self.secrets.push(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()));
        self
    }

    /// The name of the cookie.
    #[must_use]
    pub fn cookie(self, name: &str) -> Self {
        Self { cookie: name.to_owned(), ..self }
    }

    /// What the keys begin with.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// Where in a session's JSON it says who is logged in, as a JSON pointer (RFC 6901) to a text or a number. A session
    /// that says nothing there is a visitor's.
    #[must_use]
    pub fn user_at(self, pointer: &str) -> Self {
        Self { user_at: pointer.to_owned(), ..self }
    }

    fn key(&self, earlier: &SecretText) -> Vec<u8> {
        let id = earlier.expose().rsplit_once('.').map_or("", |(id, _)| id);
        [self.prefix.as_bytes(), id.as_bytes()].concat()
    }

    /// `s:`, the id, and its HMAC-SHA-256 in base64, all of it percent-encoded; without the `s:`, if one of the secrets
    /// has signed it.
    fn verify(&self, value: &[u8]) -> Option<SecretText> {
        if value.len() > 4 * ID_BYTES_MAX {
            return None;
        }
        let text = String::from_utf8(percent_decoded(value)?).ok()?;
        let signed = text.strip_prefix("s:")?;
        let (id, tag) = signed.rsplit_once('.')?;
        let tag = STANDARD_NO_PAD.decode(tag).ok()?;
        let fits = |key: &hmac::Key| hmac::verify(key, id.as_bytes(), &tag).is_ok();
        let is_one = !id.is_empty() && id.len() <= ID_BYTES_MAX && self.secrets.iter().any(fits);
        is_one.then(|| SecretText::new(signed.to_owned()))
    }

    /// `None` if that is no session of express-session.
    fn read(&self, bytes: &[u8]) -> Option<Arrival> {
        let whole: Value = serde_json::from_slice(bytes).ok()?;
        let cookie = whole.get("cookie")?.as_object()?;
        let remembered = cookie.get("originalMaxAge").is_some_and(Value::is_number);
        let user: Option<Arc<str>> = match whole.pointer(&self.user_at) {
            Some(Value::String(user)) => Some(user.as_str().into()),
            Some(Value::Number(user)) => Some(user.to_string().into()),
            _ => None,
        };
        if user.as_ref().is_some_and(|user| user.is_empty() || user.len() > USER_BYTES_MAX) {
            return None;
        }
        let mut data = Delta::new(WHOLE_BYTES_MAX);
        for (key, value) in whole.as_object()?.iter().filter(|(key, _)| *key != "cookie") {
            if data.set(key, value.to_string().into_bytes()).is_err() {
                tracing::warn!("a key of an earlier session is too long and is left out");
            }
        }
        Some(Arrival { user, remembered, data, digest: sha1(bytes) })
    }
}

impl Arrivals for ConnectRedis {
    fn recognise(&self, headers: &HeaderMap) -> Option<SecretText> {
        let (mut found, mut planted) = (None, false);
        let look = each(headers, |name, value| {
            if name == self.cookie.as_bytes()
                && let Some(earlier) = self.verify(value)
            {
                planted |= found.replace(earlier.clone()).is_some_and(|other| other != earlier);
            }
            Ok(())
        });
        // Of two genuine ones, somebody planted one.
        found.filter(|_| look.is_ok() && !planted)
    }

    fn find<'a>(&'a self, earlier: &'a SecretText) -> Answer<'a, Option<Arrival>> {
        Box::pin(async move {
            let mut command = redis::cmd("GETRANGE");
            command.arg(self.key(earlier)).arg(0).arg(WHOLE_BYTES_MAX - 1);
            match self.store.0.link.read::<Vec<u8>>(&command).await {
                Ok(bytes) => Ok(self.read(&bytes)),
                Err(Trouble::WrongType(_)) => Ok(None),
                Err(trouble) => Err(trouble.into()),
            }
        })
    }

    fn adopt<'a>(
        &'a self,
        earlier: &'a SecretText,
        arrival: &'a Arrival,
        opening: &'a Opening,
        now: Time,
    ) -> Answer<'a, Adopted> {
        Box::pin(async move {
            let key = self.key(earlier);
            let foreign = Some((&*key, &*arrival.digest));
            let reply = self.store.open_session(None, foreign, opening, now).await?;
            Ok(match reply.status()? {
                b"live" | b"taken" => Adopted::Here,
                b"changed" | b"unknown" => Adopted::Changed,
                b"stale" | b"many" | b"large" => Adopted::Refused,
                _ => return Err(reply.unexpected()),
            })
        })
    }
}

fn percent_decoded(value: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = digit(digits[0])? * 16 + digit(digits[1])?;
        decoded.push(u8::try_from(byte).ok()?);
        rest = tail;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn percents() {
        for (text, decoded) in [
            ("s%3Aa.b%2Bc%2f", Some("s:a.b+c/")),
            ("plain", Some("plain")),
            ("", Some("")),
            ("%", None),
            ("%4", None),
            ("%+1", None),
            ("%zz", None),
        ] {
            assert_eq!(percent_decoded(text.as_bytes()), decoded.map(Into::into), "{text}");
        }
    }
}
