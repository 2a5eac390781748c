//! The decision: which rule a request falls under, and whether it gets through.

use std::fmt;

use http::{Method, header::AUTHORIZATION, request::Parts};
use symbolon_guard::{
    Authority, Guard, Identity, Refusal, Require, StepUp, cookie::InvalidPublicUrl, follow::Dial,
};

use super::original::{Original, Site, Unclear};
use crate::config::forward::{Access, ForwardConfig, Headers, Rule};

/// Decides about requests by the rules of a configuration.
pub struct Gate<A> {
    headers: Headers,
    sites: Vec<Site>,
    routes: Vec<Route<A>>,
}

impl<A> fmt::Debug for Gate<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("sites", &self.sites).finish_non_exhaustive()
    }
}

/// A rule, made ready. A last one, for whatever no other fits, asks for a login.
struct Route<A> {
    fits: Option<Rule>,
    access: Access,
    needs: Vec<Require>,
    /// One for each site.
    guards: Vec<Guard<A>>,
}

/// Why a request does not get through, and what it was, if that is clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Why,
    /// What was asked for.
    pub original: Option<Original>,
}

/// Why a request does not get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Whoever asks is no proxy of ours.
    Untrusted,
    /// It is not clear what was asked for.
    Unclear(Unclear),
    /// The credential, or its lack.
    Guard(Refusal),
}

impl<A: Authority> Gate<A> {
    /// The gate of a configuration; `authority` knows whose a credential is, as fresh as a rule wants it.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`] if an origin is none.
    pub fn new(
        config: &ForwardConfig,
        authority: impl Fn(Option<Dial>) -> A,
    ) -> Result<Self, InvalidPublicUrl> {
        let sites = config.origins.iter().map(|origin| Site::new(origin));
        let sites = sites.collect::<Result<Vec<_>, _>>()?;
        let guards = |dial| {
            let guard = |site: &Site| Guard::required(site.rules.clone(), authority(dial));
            sites.iter().map(guard).collect()
        };
        let rules = config.rules.iter().map(|rule| Route {
            access: rule.access,
            needs: needs(rule),
            guards: guards(rule.dial),
            fits: Some(rule.clone()),
        });
        let last = Route {
            fits: None,
            access: Access::Login,
            needs: vec![Require::login()],
            guards: guards(None),
        };
        let routes = rules.chain([last]).collect();
        Ok(Self { headers: config.headers, sites, routes })
    }

    /// Decides about the request that a check is about.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn decide(&self, check: &mut Parts) -> Result<(Original, Option<Identity>), Refused> {
        let original = Original::of(self.headers, &self.sites, check)
            .map_err(|why| Refused { why: Why::Unclear(why), original: None })?;
        original.apply_to(check);
        let found = match self.routes.iter().find(|route| route.fits(&original, &self.sites)) {
            Some(route) => route.identify(original.site, check).await,
            None => Err(Refusal::Forbidden),
        };
        match found {
            Ok(identity) => Ok((original, identity)),
            Err(refusal) => Err(Refused { why: Why::Guard(refusal), original: Some(original) }),
        }
    }
}

impl<A> Gate<A> {
    /// The applications behind the proxy.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }
}

fn needs(rule: &Rule) -> Vec<Require> {
    let login = (rule.access == Access::Login).then(Require::login);
    let role = rule.role.as_deref().map(Require::role);
    let scope = rule.scope.as_deref().map(Require::scope);
    let needed = StepUp { assurance: rule.assurance, max_age: rule.max_age };
    let step_up = (needed != StepUp::default()).then(|| Require::step_up(needed));
    [login, role, scope, step_up].into_iter().flatten().collect()
}

impl<A: Authority> Route<A> {
    fn fits(&self, original: &Original, sites: &[Site]) -> bool {
        let Some(rule) = &self.fits else { return true };
        let host =
            sites.get(original.site).map(|site| crate::config::forward::host_of(&site.origin));
        let slashless = |path: &str| path.trim_end_matches('/').to_owned();
        let path = original.path.as_str();
        let method = |wanted: &Method| *wanted == original.method;
        rule.host.as_deref().is_none_or(|wanted| host == Some(wanted))
            && rule.path.as_ref().is_none_or(|prefix| original.path.is_under(&prefix.0))
            // Many applications answer `/a/` as they answer `/a`.
            && rule.path_exact.as_ref().is_none_or(|one| slashless(&one.0) == slashless(path))
            && (rule.methods.is_empty() || rule.methods.iter().any(|wanted| method(&wanted.0)))
    }

    /// Who it is, if that is enough.
    async fn identify(&self, site: usize, request: &Parts) -> Result<Option<Identity>, Refusal> {
        let guard = self.guards.get(site).ok_or(Refusal::Forbidden)?;
        let identity = match guard.identify(request).await {
            Err(refusal)
                if self.access == Access::Public && counts_for_nothing(&refusal, request) =>
            {
                None
            }
            found => found?,
        };
        if self.access == Access::Public {
            return Ok(identity);
        }
        for need in &self.needs {
            need.check(identity.as_ref())?;
        }
        identity.ok_or(Refusal::LoginRequired).map(Some)
    }
}

/// Where everybody gets in, a cookie that no longer counts, or cannot be checked now, makes its bearer anonymous. A bad
/// `Authorization` header was sent on purpose and is refused; so is what comes from another site.
fn counts_for_nothing(refusal: &Refusal, request: &Parts) -> bool {
    match refusal {
        Refusal::InvalidToken | Refusal::Renewed => !request.headers.contains_key(AUTHORIZATION),
        Refusal::Unavailable { .. } => true,
        _ => false,
    }
}
