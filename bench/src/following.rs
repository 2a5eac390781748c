//! What a follower's decisions cost: the guard that verifies and looks things up itself, under a real server's lease.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    http::{Request, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use symbolon::app::{Os, now};
use symbolon_core::{
    change::Change,
    follower::ENTRIES_MAX,
    id::{EntryId, SessionId, TokenId, UserId},
    keys::{Algorithm, VerifyingKey},
    secret::SecretText,
    token::{Claims, TokenType},
};
use symbolon_guard::{
    Authority, Carried, Guard, Identity, Rules,
    follow::{Following, Settings},
};

use crate::{
    harness::{Result, micros_each},
    load::Load,
    table::{Row, Table},
    traffic::{CONNECTIONS, ROUND_MS, ROUNDS, SESSION, alternate, get_session, job, sessions},
    world::{CLIENT, ORIGIN, World, bare},
};

const TOKENS: usize = 10_000;
pub(crate) const REVOCATIONS: usize = 1_000_000;
/// Goes through all tokens in an order that no cache of the processor foresees.
const STRIDE: usize = 7919;
/// Room for some sixty tokens: of many, each is met as if for the first time.
const LITTLE_ROOM: usize = 64 * 1024;

/// A follower of this world's server, which holds a lease.
fn following(world: &World, secret: &str, cache_bytes_max: usize) -> Result<Following> {
    let server = format!("http://{}", world.serve()?);
    let settings = Settings::new(server, CLIENT.parse()?, SecretText::new(secret.to_owned()));
    let settings = Settings { issuer: Some(ORIGIN.into()), cache_bytes_max, ..settings };
    let (following, task) = Following::new(settings.audience(ORIGIN))?;
    world.runtime.spawn(task);
    world.runtime.block_on(following.ready());
    Ok(following)
}

/// Access tokens of as many sessions, as the server issues them, and the key that verifies them.
fn tokens(world: &World, count: usize) -> Result<(Vec<SecretText>, VerifyingKey)> {
    let (now, keys) = (now(), world.app.keys());
    let key = keys.ring.signing_key(Algorithm::Es256, now).ok_or("no key")?;
    let tokens = (0..count).map(|_| {
        let claims = Claims {
            iss: ORIGIN.into(),
            user: Some(UserId::random(&mut Os)),
            aud: ORIGIN.into(),
            client_id: "symbolon".parse()?,
            iat: now,
            exp: now + Duration::from_secs(300),
            nbf: None,
            jti: TokenId::random(&mut Os),
            sid: SessionId::random(&mut Os),
            scope: None,
            roles: vec!["editor".into()],
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            act: None,
            key: None,
            more: Default::default(),
        };
        Ok(claims.issue(TokenType::AtJwt, key)?)
    });
    Ok((tokens.collect::<Result<_>>()?, key.verifying_key().clone()))
}

/// One decision, which waits for nothing.
fn decide(following: &Following, carried: &Carried, parts: &Parts) -> bool {
    let decision = pin!(following.identify(carried, parts));
    matches!(decision.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_)))
}

/// Calls `function` with one of the things after the other.
fn each<'a, T, R>(things: &'a [T], function: impl Fn(&T) -> R + 'a) -> impl FnMut() + 'a {
    let mut turn = 0;
    move || {
        turn = (turn + STRIDE) % things.len();
        black_box(function(&things[turn]));
    }
}

/// Ends ids that nobody carries.
pub(crate) fn revoke(world: &World, count: usize) -> Result<()> {
    for begin in (0..count).step_by(ENTRIES_MAX) {
        let mut change = Change::at(now());
        (begin..count.min(begin + ENTRIES_MAX)).for_each(|_| change.end(EntryId::random(&mut Os)));
        world.runtime.block_on(world.app.store.commit(change))?;
    }
    Ok(())
}

/// A decision about a token at first sight and about credentials that were seen before.
pub(crate) fn verification(table: &mut Table) -> Result<()> {
    let world = World::of_many_logins()?;
    let secret = world.add_resource_server()?;
    let (tokens, key) = tokens(&world, TOKENS)?;
    let signatures = tokens.iter().map(|token| {
        let (signed, signature) = token.expose().rsplit_once('.').ok_or("no signature")?;
        Ok((signed, URL_SAFE_NO_PAD.decode(signature)?))
    });
    let signatures = signatures.collect::<Result<Vec<_>>>()?;
    let bearers: Vec<_> = tokens.iter().cloned().map(Carried::Bearer).collect();
    let cookies = (0..32).map(|_| {
        let cookie = world.login("session")?.0.ok_or("no cookie")?;
        let (_, value) = cookie.split_once('=').ok_or("no cookie")?;
        Ok(Carried::SessionCookie(SecretText::new(value.to_owned())))
    });
    let cookies = cookies.collect::<Result<Vec<_>>>()?;
    let (parts, ()) = Request::get("/").body(())?.into_parts();
    let forgetful = following(&world, &secret, LITTLE_ROOM)?;
    let roomy = following(&world, &secret, 64 << 20)?;
    for carried in bearers.iter().chain(&cookies) {
        let identified = world.runtime.block_on(roomy.identify(carried, &parts));
        identified.map_err(|refusal| format!("{refusal:?}"))?;
    }
    if !bearers.iter().chain(&cookies).all(|carried| decide(&roomy, carried, &parts)) {
        return Err("a credential is not kept".into());
    }

    let [first, bare] = micros_each(
        15,
        2000,
        [
            &mut each(&bearers, |token| decide(&forgetful, token, &parts)),
            &mut each(&signatures, |(signed, signature)| {
                key.verifies(signed.as_bytes(), signature)
            }),
        ],
    );
    table.row(&Row {
        figure: "decision of a follower: access token (ES256), first sight",
        measured: format!("{} × ({first} µs : {bare} µs)", first.over(&bare)),
        budget: "≤ 1.1 ×",
        how: "`follow::Following::identify`: lease, signature, claims, set of ended ids, and put into a cache that has room for 60; 10 000 tokens in turn; against aws-lc's check of the same signatures with a parsed key; CPU time, alternating",
    })?;
    let mut repeated = |figure: &str, budget: &str| -> Result<()> {
        let [token, cookie, text] = micros_each(
            15,
            20_000,
            [
                &mut each(&bearers, |token| decide(&roomy, token, &parts)),
                &mut each(&cookies, |cookie| decide(&roomy, cookie, &parts)),
                &mut each(&tokens, |token| token.expose().bytes().fold(0, |all, one| all ^ one)),
            ],
        );
        let figure = &format!("decision of a follower: repeated, {figure}");
        table.row(&Row {
            figure,
            measured: format!(
                "access token {:.2} µs ({token}, of which {text} fetch its text); session cookie {cookie} µs",
                token.median() - text.median()
            ),
            budget,
            how: "the same call, after each credential was seen once: found by a hash of the whole, compared whole, every id looked up in the set; 10 000 tokens in an order that no cache foresees, 32 cookies. The token that is asked about comes out of memory too, where a request has just been read: that is measured alone and subtracted",
        })?;
        Ok(())
    };
    repeated("10 000 live tokens", "≤ 0.5 µs")?;
    revoke(&world, REVOCATIONS)?;
    while roomy.status().ended_ids < REVOCATIONS || forgetful.status().ended_ids < REVOCATIONS {
        std::thread::sleep(Duration::from_millis(10));
    }
    repeated("10 000 live tokens, 1 M revocations in the set", "≤ 1.2 µs")
}

/// What a guard that follows adds to an application over HTTP.
pub(crate) fn guarded(table: &mut Table) -> Result<()> {
    let world = World::on_one_core()?;
    let secret = world.add_resource_server()?;
    let by_cookie = sessions(&world, CONNECTIONS)?;
    let (tokens, _) = tokens(&world, CONNECTIONS)?;
    let bearer =
        |token: &SecretText| get_session(&format!("authorization: Bearer {}", token.expose()));
    let by_token: Vec<_> = tokens.iter().map(bearer).collect();
    let cookie = by_cookie.first().and_then(|r| r.split("cookie: ").nth(1)).ok_or("no cookie")?;
    let request = Request::get(SESSION).header(header::COOKIE, cookie.trim()).body(Body::empty())?;
    let (_, answer) = world.runtime.block_on(crate::world::answer(&world.router, request))?;
    let leaked: &'static serde_json::Value = Box::leak(Box::new(answer.clone()));
    let guarded = |following: &Following| {
        let guard = Guard::required(Rules::new(ORIGIN)?, following.clone());
        let handler = axum::routing::get(async move |_: Identity| Json(leaked));
        world.serve_axum(axum::Router::new().route(SESSION, handler).layer(guard))
    };
    let (roomy, forgetful) =
        (following(&world, &secret, 64 << 20)?, following(&world, &secret, 0)?);
    let open = world.serve_axum(bare(SESSION, answer))?;
    let (roomy, forgetful) = (guarded(&roomy)?, guarded(&forgetful)?);
    let mut load = Load::start()?;
    let jobs = [
        job(open, by_cookie.clone()),
        job(open, by_token.clone()),
        job(roomy, by_cookie),
        job(roomy, by_token.clone()),
        job(forgetful, by_token),
    ];
    let [bare_cookie, bare_token, cookie, token, first] = alternate(&mut load, jobs)?;
    for (figure, measured, bare, budget) in [
        ("session cookie, repeated", &cookie, &bare_cookie, "≥ 85 %"),
        ("access token (JWT), repeated", &token, &bare_token, "≥ 85 %"),
        ("access token (JWT, ES256), first sight", &first, &bare_token, "one signature check more"),
    ] {
        table.row(&Row {
            figure: &format!("application behind a guard that follows: {figure}"),
            measured: measured.beside(bare),
            budget,
            how: &format!("the same axum route with and without `Guard` on `follow::Following` under the lease of a server in the same process; {CONNECTIONS} connections and sessions, {ROUNDS} rounds of {ROUND_MS} ms, in turn; first sight: the follower's cache has no room"),
        })?;
    }
    Ok(())
}
