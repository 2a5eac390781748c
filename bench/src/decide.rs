//! What a decision costs: CPU time in one thread, without any HTTP.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    http::{Request, Response, header},
    routing,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use symbolon::http::authority::InProcess;
use symbolon_core::{
    id::{KeyId, SessionId, TokenId, UserId},
    keys::{Algorithm, SigningKey},
    time::Time,
    token::{Claims, Rules, TokenType, Verifier},
};
use symbolon_guard::{Guard, Identity};
use tower::{Layer, Service, ServiceExt};

use crate::{
    harness::{Result, micros_each},
    table::{Row, Table},
    world::{ORIGIN, World, bare},
};

const NOW: Time = Time::from_secs(1_800_000_000);

/// RFC 9068's required claims and `sid`; issuer and audience of 24 bytes.
fn claims() -> Result<Claims> {
    Ok(Claims {
        iss: "https://auth.example.com".into(),
        user: Some(UserId::from_bytes([2; 16])),
        aud: "https://shop.example.com".into(),
        client_id: "shop".parse()?,
        iat: NOW,
        exp: NOW + Duration::from_secs(300),
        nbf: None,
        jti: TokenId::from_bytes([3; 16]),
        sid: SessionId::from_bytes([4; 16]),
        scope: None,
        roles: Vec::new(),
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        act: None,
        key: None,
        more: Default::default(),
    })
}

fn key(algorithm: Algorithm) -> Result<SigningKey> {
    Ok(SigningKey::generate(KeyId::from_bytes([1; 16]), algorithm)?)
}

/// How long a token is.
pub(crate) fn token_size(table: &mut Table) -> Result<()> {
    let key = key(Algorithm::Es256)?;
    let size = |claims: Claims| Result::Ok(claims.issue(TokenType::AtJwt, &key)?.expose().len());
    let required = size(claims()?)?;
    let more = [
        ("scope (10 bytes)", Claims { scope: Some("read write".into()), ..claims()? }),
        ("one role (6 bytes)", Claims { roles: vec!["editor".into()], ..claims()? }),
        ("auth_time", Claims { auth_time: Some(NOW), ..claims()? }),
        ("acr", Claims { acr: Some("aal1".into()), ..claims()? }),
        ("amr", Claims { amr: vec!["pwd".into()], ..claims()? }),
    ];
    let mut measured = format!("{required} bytes");
    for (name, claims) in more {
        measured.push_str(&format!("; {name} +{}", size(claims)? - required));
    }
    table.row(&Row {
        figure: "access token: required claims + `sid`",
        measured,
        budget: "≤ 480 bytes",
        how: "ES256, issuer and audience of 24 bytes, a client of 4; each further claim alone",
    })?;
    Ok(())
}

/// First sight of a token beside the bare signature check.
pub(crate) fn token_verification(table: &mut Table) -> Result<()> {
    for algorithm in Algorithm::ALL {
        let key = key(algorithm)?;
        let public = key.verifying_key().clone();
        let token = claims()?.issue(TokenType::AtJwt, &key)?;
        let rules = Rules::new("https://auth.example.com", ["https://shop.example.com"]);
        let verifier = Verifier::new(rules, [public.clone()]);
        verifier.verify(token.expose(), NOW)?;
        let (signed, signature) = token.expose().rsplit_once('.').ok_or("no signature")?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        let [whole, bare] = micros_each(
            15,
            1000,
            [&mut || drop(verifier.verify(token.expose(), NOW)), &mut || {
                std::hint::black_box(public.verifies(signed.as_bytes(), &signature));
            }],
        );
        table.row(&Row {
            figure: &format!("token verification, first sight, {}", algorithm.name()),
            measured: format!("{} × ({whole} µs : {bare} µs)", whole.over(&bare)),
            budget: "≤ 1.1 ×",
            how: "`Verifier::verify` against aws-lc's check of the same signature with a parsed key; CPU time, alternating",
        })?;
    }
    Ok(())
}

/// What the guard adds to a request, by cookie and by token.
pub(crate) fn session_layer(table: &mut Table) -> Result<()> {
    let world = World::on_one_core()?;
    let cookie = world.login("session")?.0.ok_or("no cookie")?;
    let token = world.login("token")?.1["access_token"].as_str().ok_or("no token")?.to_owned();
    for (figure, name, value) in [
        ("session layer, warm, session cookie", header::COOKIE, cookie),
        (
            "the same, access token that was verified before",
            header::AUTHORIZATION,
            format!("Bearer {token}"),
        ),
    ] {
        let rules = symbolon_guard::Rules::new(ORIGIN)?;
        let guard = Guard::required(rules, InProcess(Arc::clone(&world.app)));
        let inner =
            tower::service_fn(async |_: Request<()>| Result::Ok(Response::new(String::new())));
        let request = Request::get("/").header(name, value).body(())?;
        let answer = world.runtime.block_on(guard.layer(inner).oneshot(request.clone()))?;
        assert!(answer.status().is_success(), "{answer:?}");
        let (parts, ()) = request.clone().into_parts();
        let (mut guarded, mut open) = (guard.layer(inner), inner);
        let [layer, nothing, identify] = micros_each(
            15,
            5000,
            [
                &mut || drop(world.runtime.block_on(guarded.call(request.clone()))),
                &mut || drop(world.runtime.block_on(open.call(request.clone()))),
                &mut || drop(world.runtime.block_on(guard.identify(&parts))),
            ],
        );
        table.row(&Row {
            figure,
            measured: format!(
                "{:.2} µs ({layer} with − {nothing} without); `Guard::identify` alone {identify}",
                layer.median() - nothing.median()
            ),
            budget: "≤ 2.5 µs",
            how: "CPU time of a call through the layer less that of the service behind it, no HTTP; both with a request made and a future driven",
        })?;
    }
    Ok(())
}

/// What each ring of a node adds to a warm session check, without sockets and without parsing HTTP.
pub(crate) fn rings(table: &mut Table) -> Result<()> {
    const PATH: &str = "/api/v1/session";
    let world = World::on_one_core()?;
    let cookie = world.login("session")?.0.ok_or("no cookie")?;
    let ask = || Request::get(PATH).header(header::COOKIE, &cookie).body(Body::empty());
    let (_, answer) = world.runtime.block_on(crate::world::answer(&world.router, ask()?))?;
    let leaked: &'static serde_json::Value = Box::leak(Box::new(answer.clone()));
    let guard =
        Guard::required(symbolon_guard::Rules::new(ORIGIN)?, InProcess(Arc::clone(&world.app)));
    let guarded =
        Router::new().route(PATH, routing::get(async move |_: Identity| Json(leaked))).layer(guard);
    let routers = [bare(PATH, answer), guarded, world.router.clone()];
    let [bare, guarded, node] = micros_each(
        15,
        5000,
        routers
            .each_ref()
            .map(|router| {
                || {
                    let request = ask().ok();
                    let answer = request.map(|request| router.clone().oneshot(request));
                    drop(answer.map(|answer| world.runtime.block_on(answer)));
                }
            })
            .each_mut()
            .map(|call| call as &mut dyn FnMut()),
    );
    let over = |rounds: &crate::harness::Rounds| rounds.median() - bare.median();
    table.row(&Row {
        figure: "session check, warm, without sockets",
        measured: format!(
            "a bare axum route takes {bare} µs; a guard adds {:.2}, a whole node with logs and metrics {:.2}",
            over(&guarded),
            over(&node)
        ),
        budget: "",
        how: "CPU time of a call of the router, the request made and dropped in it",
    })?;
    Ok(())
}
