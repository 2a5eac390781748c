//! Resource indicators (RFC 8707): an access token is for the resource servers that were granted, or for fewer.

use serde_json::{Value, json};

use crate::{
    oauth::{CALLBACK, Client, Provider, opened, refused, sent},
    world::{Answer, ORIGIN, ask},
};

const API: &str = "https://api.example";
const FILES: &str = "https://files.example";
const MAIL: &str = "https://mail.example";
const EVIL: &str = "https://evil.example";

struct Three {
    provider: Provider,
    client: Client,
    browser: String,
}

fn named<'a>(resources: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    resources.iter().map(|resource| ("resource", *resource)).collect()
}

impl Three {
    async fn new() -> Self {
        let provider = Provider::new().await;
        let more = json!({
            "first_party": true, "redirect_uris": [CALLBACK], "audiences": [API, FILES, MAIL],
            "grant_types": [
                "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
            ],
        });
        let client = provider.world.add_client("three", "confidential", more).await;
        let browser = provider.world.cookie("user").await;
        Self { provider, client, browser }
    }

    async fn authorize(&self, resources: &[&str]) -> Answer {
        let own = [&[("client_id", "three"), ("scope", "profile")][..], &named(resources)].concat();
        self.provider.authorize(&self.browser, &own).await.expect(303)
    }

    /// Redeems a code that was asked for some, for others.
    async fn redeem(&self, granted: &[&str], wanted: &[&str]) -> Answer {
        let code = sent(self.authorize(granted).await.location(), "code").unwrap();
        self.provider.world.issued.lock().unwrap().push(code.clone());
        let redemption = Provider::redemption(&code, &named(wanted)).basic(&self.client);
        self.provider.world.send(redemption).await
    }

    async fn refresh(&self, token: &str, wanted: &[&str]) -> Answer {
        self.provider.refresh(&self.client, token, &named(wanted)).await
    }

    async fn audience(&self, answer: &Answer) -> Vec<String> {
        let (_, claims) = opened(&self.provider.world, &answer.text_of("access_token")).await;
        match &claims["aud"] {
            Value::String(one) => vec![one.clone()],
            all => serde_json::from_value(all.clone()).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_token_request_narrows_what_was_granted_and_never_widens_it() {
    let three = Three::new().await;
    for (granted, wanted, audience) in [
        (&[][..], &[][..], &[API][..]),
        (&[], &[FILES], &[FILES]),
        (&[], &[FILES, MAIL], &[FILES, MAIL]),
        (&[FILES], &[], &[FILES]),
        (&[FILES, MAIL], &[], &[FILES, MAIL]),
        (&[MAIL, FILES], &[MAIL], &[MAIL]),
        (&[MAIL, FILES, FILES], &[FILES, FILES], &[FILES]),
        (&[MAIL, FILES], &[API], &[]),
        (&[MAIL, FILES], &[MAIL, API], &[]),
        (&[MAIL], &[EVIL], &[]),
        (&[], &[EVIL], &[]),
        (&[], &[ORIGIN], &[]),
        (&[], &[API, EVIL], &[]),
    ] {
        let answer = three.redeem(granted, wanted).await;
        if audience.is_empty() {
            refused(&answer, 400, "invalid_target");
        } else {
            let answer = answer.expect(200);
            assert_eq!(three.audience(&answer).await, audience, "{granted:?} {wanted:?}");
        }
    }
}

#[tokio::test]
async fn what_one_refresh_does_not_want_the_next_can_have() {
    let three = Three::new().await;
    let mut answer = three.redeem(&[FILES, MAIL], &[MAIL]).await.expect(200);
    for (wanted, audience) in [
        (&[FILES][..], &[FILES][..]),
        (&[], &[FILES, MAIL]),
        (&[MAIL], &[MAIL]),
        (&[API], &[]),
        (&[MAIL, API], &[]),
        (&[EVIL], &[]),
        (&[MAIL, FILES], &[FILES, MAIL]),
    ] {
        let refreshed = three.refresh(&answer.text_of("refresh_token"), wanted).await;
        if audience.is_empty() {
            refused(&refreshed, 400, "invalid_target");
        } else {
            answer = refreshed.expect(200);
            assert_eq!(three.audience(&answer).await, audience, "{wanted:?}");
        }
    }
}

#[tokio::test]
async fn what_is_none_of_the_clients_is_refused_before_anybody_is_asked() {
    let three = Three::new().await;
    for resources in [&[EVIL][..], &[API, EVIL], &[ORIGIN], &[&format!("{API}/")], &[API; 9]] {
        let answer = three.authorize(resources).await;
        assert_eq!(sent(answer.location(), "error").as_deref(), Some("invalid_target"));
    }
    // Every other parameter stands once.
    let twice = three.authorize(&[API, FILES]).await;
    assert!(sent(twice.location(), "code").is_some());
    let own = [("client_id", "three"), ("nonce", "a"), ("nonce", "b")];
    three.provider.authorize(&three.browser, &own).await.expect(400);
}

#[tokio::test]
async fn a_pushed_request_names_several_and_a_device_one() {
    let three = Three::new().await;
    let world = &three.provider.world;
    let challenge = crate::oauth::s256(crate::oauth::VERIFIER);
    let fields = [
        &[
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ][..],
        &named(&[MAIL, FILES]),
    ]
    .concat();
    let pushed = world.send(ask("POST", "/oauth2/par").form(&fields).basic(&three.client)).await;
    let uri = pushed.expect(201).text_of("request_uri");
    let query = [("client_id", "three"), ("request_uri", &uri)];
    let path = format!("/oauth2/authorize?{}", serde_urlencoded::to_string(query).unwrap());
    let answer = world.send(ask("GET", &path).cookie(&three.browser)).await.expect(303);
    let code = sent(answer.location(), "code").unwrap();
    world.issued.lock().unwrap().push(code.clone());
    let answer =
        world.send(Provider::redemption(&code, &[]).basic(&three.client)).await.expect(200);
    assert_eq!(three.audience(&answer).await, [FILES, MAIL]);
    for (resources, status) in [(&[MAIL][..], 200), (&[MAIL, FILES], 400), (&[MAIL, MAIL], 200)] {
        let fields = [&[("scope", "profile")][..], &named(resources)].concat();
        let begin = ask("POST", "/oauth2/device_authorization").form(&fields).basic(&three.client);
        world.send(begin).await.expect(status);
    }
}
