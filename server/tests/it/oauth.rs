//! OAuth 2.0 and OpenID Connect: the whole walk of a client, and every attack on it by its name.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_core::keys::{Jwk, VerifyingKey};

use crate::world::{Answer, Ask, ORIGIN, World, ask};

pub(crate) const CALLBACK: &str = "https://web.example/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(crate) type Client = (String, String);
pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// A server with clients of each kind.
pub(crate) struct Provider {
    pub(crate) world: World,
    /// Keeps a secret.
    pub(crate) web: Client,
    /// Keeps none.
    pub(crate) spa: Client,
}

pub(crate) fn s256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// These fields with some of them changed; an empty one is left out.
fn changed<'a>(fields: Fields<'a>, changes: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    let kept = fields.iter().filter(|(name, _)| changes.iter().all(|(own, _)| own != name));
    kept.chain(changes).copied().filter(|(_, value)| !value.is_empty()).collect()
}

/// A parameter of where the browser is sent.
pub(crate) fn sent(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    pairs.into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

/// The parts of a token, its signature held against the published keys.
pub(crate) async fn opened(world: &World, token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part| serde_json::from_slice::<Value>(&decode(part)).unwrap();
    let (header, claims) = (json(parts[0]), json(parts[1]));
    let jwks = world.send(ask("GET", "/.well-known/jwks.json")).await.expect(200).json();
    let keys = jwks["keys"].as_array().unwrap();
    let jwk = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!(jwk["alg"], header["alg"]);
    let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let signed = &token[..token.rfind('.').unwrap()];
    let key = VerifyingKey::from_jwk(&jwk).unwrap();
    assert!(key.verifies(signed.as_bytes(), &decode(parts[2])));
    (header, claims)
}

impl Provider {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let more =
            |uri: &str| json!({ "first_party": true, "redirect_uris": [uri], "scopes": ["cart"] });
        let web = world.add_client("web", "confidential", more(CALLBACK)).await;
        let spa = world.add_client("spa", "public", more("https://spa.example/in")).await;
        Self { world, web, spa }
    }

    pub(crate) async fn authorize(&self, cookie: &str, changes: Fields<'_>) -> Answer {
        let challenge = s256(VERIFIER);
        let fields = [
            ("response_type", "code"),
            ("client_id", "web"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile email cart"),
            ("state", "a state"),
            ("nonce", "a nonce"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let query = serde_urlencoded::to_string(changed(&fields, changes)).unwrap();
        self.world.send(ask("GET", &format!("/oauth2/authorize?{query}")).cookie(cookie)).await
    }

    pub(crate) async fn code(&self, cookie: &str, changes: Fields<'_>) -> String {
        let answer = self.authorize(cookie, changes).await.expect(303);
        let code = sent(answer.location(), "code").unwrap_or_else(|| panic!("{answer:?}"));
        self.world.issued.lock().unwrap().push(code.clone());
        code
    }

    pub(crate) fn redemption(code: &str, changes: Fields<'_>) -> Ask {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        ask("POST", "/oauth2/token").form(&changed(&fields, changes))
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.world.send(Self::redemption(code, &[]).basic(&self.web)).await
    }

    pub(crate) async fn tokens(&self, cookie: &str) -> Answer {
        self.redeem(&self.code(cookie, &[]).await).await.expect(200)
    }

    /// A code and the tokens of the public client.
    pub(crate) async fn tokens_of_spa(&self, cookie: &str) -> Answer {
        let own = [("client_id", "spa"), ("redirect_uri", "https://spa.example/in")];
        let code = self.code(cookie, &own).await;
        self.world.send(Self::redemption(&code, &own)).await.expect(200)
    }

    pub(crate) async fn refresh(
        &self,
        client: &Client,
        token: &str,
        changes: Fields<'_>,
    ) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let request = ask("POST", "/oauth2/token");
        let request = if client.1.is_empty() {
            let named = [&fields[..], &[("client_id", client.0.as_str())]].concat();
            request.form(&changed(&named, changes))
        } else {
            request.form(&changed(&fields, changes)).basic(client)
        };
        self.world.send(request).await
    }

    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let about = ask("POST", "/oauth2/introspect").basic(&self.web).form(&[("token", token)]);
        self.world.send(about).await.expect(200).json()
    }

    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await["active"] == true
    }

    pub(crate) async fn log_out(&self, cookie: &str) {
        let logout = ask("POST", "/api/v1/logout").cookie(cookie).by_our_page();
        self.world.send(logout).await.expect(204);
    }
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.text_of("error").as_str()),
        (status, error),
        "{answer:?}"
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
}

#[tokio::test]
async fn the_whole_walk() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let sent_back = provider.authorize(&browser, &[]).await.expect(303);
    assert_eq!(sent(sent_back.location(), "state").as_deref(), Some("a state"));
    assert_eq!(sent(sent_back.location(), "iss").as_deref(), Some(ORIGIN));
    let answer = provider.tokens(&browser).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["pragma"], "no-cache");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["scope"], "openid profile email cart", "what there is of what was asked");
    assert!(body["expires_in"].as_u64().is_some_and(|secs| (1..=3600).contains(&secs)));
    let access = answer.text_of("access_token");
    let (header, claims) = opened(world, &access).await;
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    assert_eq!(claims["aud"], json!(["https://api.example", format!("{ORIGIN}/oauth2/userinfo")]));
    assert_eq!(claims["scope"], "openid profile email cart");
    assert!(provider.is_active(&access).await);

    // The next tokens.
    let refreshed = provider.refresh(&provider.web, &answer.text_of("refresh_token"), &[]).await;
    let refreshed = refreshed.expect(200);
    assert_ne!(refreshed.text_of("refresh_token"), answer.text_of("refresh_token"));
    let (_, id) = opened(world, &refreshed.text_of("id_token")).await;
    assert_eq!((&id["nonce"], &id["sid"]), (&Value::Null, &claims["sid"]));

    // The login ends, and everything with it.
    provider.log_out(&browser).await;
    assert!(!provider.is_active(&access).await);
    let late = provider.refresh(&provider.web, &refreshed.text_of("refresh_token"), &[]).await;
    refused(&late, 400, "invalid_grant");
}

#[tokio::test]
async fn an_id_token_says_who_logged_in_when_and_how() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    for (client, algorithm, hash) in
        [("web", "RS256", &SHA256), ("es", "ES256", &SHA256), ("ed", "EdDSA", &SHA512)]
    {
        let credentials = if client == "web" {
            provider.web.clone()
        } else {
            let more = json!({
                "first_party": true, "redirect_uris": [CALLBACK], "id_token_algorithm": algorithm,
            });
            world.add_client(client, "confidential", more).await
        };
        let code = provider.code(&browser, &[("client_id", client)]).await;
        let answer =
            world.send(Provider::redemption(&code, &[]).basic(&credentials)).await.expect(200);
        let (header, claims) = opened(world, &answer.text_of("id_token")).await;
        assert_eq!((&header["typ"], &header["alg"]), (&json!("JWT"), &json!(algorithm)));
        let session = world.send(ask("GET", "/api/v1/session").cookie(&browser)).await.json();
        let access = answer.text_of("access_token");
        let digest = digest(hash, access.as_bytes());
        let half = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..digest.as_ref().len() / 2]);
        let (_, of_access) = opened(world, &access).await;
        let expected = json!({
            "iss": ORIGIN, "sub": session["sub"], "aud": client, "azp": client, "nonce": "a nonce",
            "acr": "aal1", "amr": ["pwd"], "sid": answer.text_of("sid"), "at_hash": half,
            "auth_time": claims["auth_time"], "iat": of_access["iat"], "exp": of_access["exp"],
        });
        assert_eq!(claims, expected);
        assert!(claims["auth_time"].as_i64() <= claims["iat"].as_i64());
    }
    // Without openid there is none.
    let code = provider.code(&browser, &[("scope", "cart")]).await;
    let answer = provider.redeem(&code).await.expect(200);
    assert_eq!(answer.json()["id_token"], Value::Null);
    assert_eq!(
        opened(world, &answer.text_of("access_token")).await.1["aud"],
        "https://api.example"
    );
}

#[tokio::test]
async fn without_an_audience_a_token_is_for_userinfo_alone() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let more = json!({ "first_party": true, "redirect_uris": [CALLBACK], "audiences": [] });
    let plain = world.add_client("plain", "confidential", more).await;
    let code = provider.code(&browser, &[("client_id", "plain")]).await;
    let answer = world.send(Provider::redemption(&code, &[]).basic(&plain)).await.expect(200);
    let answer = provider.refresh(&plain, &answer.text_of("refresh_token"), &[]).await.expect(200);
    let (_, claims) = opened(world, &answer.text_of("access_token")).await;
    assert_eq!(claims["aud"], format!("{ORIGIN}/oauth2/userinfo"));
    // Without openid there is nothing that it could be for.
    let code = provider.code(&browser, &[("client_id", "plain"), ("scope", "profile")]).await;
    let answer = world.send(Provider::redemption(&code, &[]).basic(&plain)).await;
    refused(&answer, 400, "invalid_target");
}

#[tokio::test]
async fn token_confusion() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let answer = provider.tokens(&browser).await;
    let (access, id) = (answer.text_of("access_token"), answer.text_of("id_token"));
    // An ID token is no access token, anywhere.
    assert!(!provider.is_active(&id).await);
    assert!(!world.access_counts(&id).await);
    // With such an access token an app cannot do what the user can do here.
    assert!(!world.access_counts(&access).await);
}

#[tokio::test]
async fn clients_authenticate_in_one_way() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let (id, secret) = (provider.web.0.as_str(), provider.web.1.as_str());
    let browser = world.cookie("user").await;
    let by_post = [("client_id", id), ("client_secret", secret)];
    let code = provider.code(&browser, &[]).await;
    world.send(Provider::redemption(&code, &by_post)).await.expect(200);

    let code = provider.code(&browser, &[]).await;
    fn fixed<'a>(code: &'a str) -> impl Fn(&[(&str, &str)]) -> Ask + 'a {
        |fields| Provider::redemption(code, fields)
    }
    let with = fixed(&code);
    let wrong = (id.to_owned(), "symc_wrong".to_owned());
    let nobody = ("nobody".to_owned(), secret.to_owned());
    for (request, error, basic) in [
        (with(&[]), "invalid_client", false),
        (with(&[("client_id", id)]), "invalid_client", false),
        (with(&[("client_id", id), ("client_secret", "symc_wrong")]), "invalid_client", false),
        (with(&[("client_id", "spa"), ("client_secret", secret)]), "invalid_client", false),
        (with(&[]).basic(&wrong), "invalid_client", true),
        (with(&[]).basic(&nobody), "invalid_client", true),
        (with(&[("client_id", "spa")]).basic(&provider.web), "invalid_client", true),
        (with(&[]).bearer("symc_wrong"), "invalid_client", true),
    ] {
        let answer = world.send(request).await;
        refused(&answer, 401, error);
        assert_eq!(answer.headers.contains_key("www-authenticate"), basic, "{answer:?}");
    }
    refused(&world.send(with(&by_post).basic(&provider.web)).await, 400, "invalid_request");
    // None of this spoilt the code.
    provider.redeem(&code).await.expect(200);
}

#[tokio::test]
async fn what_is_missing_or_stands_twice() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &[]).await;
    for (changes, error) in [
        (("grant_type", ""), "invalid_request"),
        (("grant_type", "password"), "unsupported_grant_type"),
        (("grant_type", "implicit"), "unsupported_grant_type"),
        (("code", ""), "invalid_request"),
        (("redirect_uri", ""), "invalid_request"),
        (("code_verifier", ""), "invalid_grant"),
    ] {
        let request = Provider::redemption(&code, &[changes]).basic(&provider.web);
        refused(&world.send(request).await, 400, error);
    }
    // Duplicate parameters.
    for name in ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "whatever"] {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            (name, "x"),
            (name, "x"),
        ];
        let request = ask("POST", "/oauth2/token").form(&fields).basic(&provider.web);
        refused(&world.send(request).await, 400, "invalid_request");
    }
    let no_form = ask("POST", "/oauth2/token").json(&json!({})).basic(&provider.web);
    refused(&world.send(no_form).await, 400, "invalid_request");
    provider.redeem(&code).await.expect(200);
}

#[tokio::test]
async fn a_refreshed_token_is_for_one_of_the_clients_resource_servers() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let two = json!(["https://api.example", "https://files.example"]);
    let more = json!({ "first_party": true, "redirect_uris": [CALLBACK], "audiences": two });
    let two = world.add_client("two", "confidential", more).await;
    let code = provider.code(&browser, &[("client_id", "two"), ("scope", "profile")]).await;
    let mut answer = world.send(Provider::redemption(&code, &[]).basic(&two)).await.expect(200);
    for (resource, audience) in [
        ("", "https://api.example"),
        ("https://files.example", "https://files.example"),
        ("https://evil.example", ""),
        (ORIGIN, ""),
    ] {
        let token = answer.text_of("refresh_token");
        let refreshed = provider.refresh(&two, &token, &[("resource", resource)]).await;
        if audience.is_empty() {
            refused(&refreshed, 400, "invalid_target");
        } else {
            answer = refreshed.expect(200);
            let (_, claims) = opened(world, &answer.text_of("access_token")).await;
            assert_eq!(claims["aud"], audience);
        }
    }
}

#[tokio::test]
async fn a_client_uses_the_grants_that_it_has() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let more = |grants: Value| json!({ "first_party": true, "redirect_uris": [CALLBACK], "grant_types": grants });
    let once = world.add_client("once", "confidential", more(json!(["authorization_code"]))).await;
    let code = provider.code(&browser, &[("client_id", "once")]).await;
    let answer = world.send(Provider::redemption(&code, &[]).basic(&once)).await.expect(200);
    assert_eq!(answer.json()["refresh_token"], Value::Null);
    world.add_client("none", "confidential", more(json!([]))).await;
    let answer = provider.authorize(&browser, &[("client_id", "none")]).await.expect(303);
    assert_eq!(sent(answer.location(), "error").as_deref(), Some("unauthorized_client"));
}

#[tokio::test]
async fn code_injection_and_cross_client_code_use() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &[]).await;
    let other = "V".repeat(43);
    let spa = [("client_id", "spa")];
    for request in [
        // Into another browser's walk: its verifier is another.
        Provider::redemption(&code, &[("code_verifier", &other)]).basic(&provider.web),
        // PKCE downgrade: the challenge itself instead of the verifier.
        Provider::redemption(&code, &[("code_verifier", &s256(VERIFIER))]).basic(&provider.web),
        // Another client's, which needs no secret.
        Provider::redemption(&code, &spa),
        // Redirect variants.
        Provider::redemption(&code, &[("redirect_uri", "https://web.example/callback/")])
            .basic(&provider.web),
        Provider::redemption(&code, &[("redirect_uri", "https://WEB.example/callback")])
            .basic(&provider.web),
        Provider::redemption(&format!("{code}A"), &[]).basic(&provider.web),
    ] {
        refused(&world.send(request).await, 400, "invalid_grant");
    }
    provider.redeem(&code).await.expect(200);
}

#[tokio::test]
async fn pkce_downgrade_at_the_authorization_endpoint() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let spa = [("client_id", "spa"), ("redirect_uri", "https://spa.example/in")];
    for client in [&[][..], &spa] {
        for change in [
            ("code_challenge_method", "plain"),
            ("code_challenge_method", ""),
            ("code_challenge", ""),
        ] {
            let changes = [client, &[change]].concat();
            let answer = provider.authorize(&browser, &changes).await.expect(303);
            assert_eq!(sent(answer.location(), "error").as_deref(), Some("invalid_request"));
            assert_eq!(sent(answer.location(), "iss").as_deref(), Some(ORIGIN), "against mix-up");
        }
    }
}

#[tokio::test]
async fn redirect_variants() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    for uri in [
        "https://web.example/callback/",
        "https://web.example/callback?x=1",
        "https://web.example/callback#x",
        "https://web.example/callback/../callback",
        "https://web.example:443/callback",
        "http://web.example/callback",
        "https://WEB.example/callback",
        "https://web.example.evil.example/callback",
        "https://web.example@evil.example/callback",
        "//web.example/callback",
        "https://spa.example/in",
        "",
    ] {
        let answer = provider.authorize(&browser, &[("redirect_uri", uri)]).await.expect(400);
        assert!(answer.location().is_empty() && answer.text.contains("redirect_uri"), "{uri}");
    }
}

#[tokio::test]
async fn code_replay_ends_what_the_code_got() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let code = provider.code(&browser, &[]).await;
    let tokens = provider.redeem(&code).await.expect(200);
    refused(&provider.redeem(&code).await, 400, "invalid_grant");
    assert!(!provider.is_active(&tokens.text_of("access_token")).await);
    let late = provider.refresh(&provider.web, &tokens.text_of("refresh_token"), &[]).await;
    refused(&late, 400, "invalid_grant");
    assert!(provider.world.cookie_counts(&browser).await, "the browser's login goes on");
}

#[tokio::test]
async fn each_code_opens_a_family_of_one_session() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let (first, second) = (provider.tokens(&browser).await, provider.tokens(&browser).await);
    assert_eq!(first.text_of("sid"), second.text_of("sid"));
    // Both go on, each for itself.
    for tokens in [&first, &second] {
        provider.refresh(&provider.web, &tokens.text_of("refresh_token"), &[]).await.expect(200);
    }
    assert_ne!(provider.tokens_of_spa(&browser).await.text_of("sid"), first.text_of("sid"));
}

#[tokio::test]
async fn cross_client_refresh_use() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let blog = world.add_client("blog", "confidential", json!({})).await;
    let (of_web, of_spa) =
        (provider.tokens(&browser).await, provider.tokens_of_spa(&browser).await);
    let named = ("web".to_owned(), String::new());
    for (client, tokens, status, error) in [
        (&blog, &of_web, 400, "invalid_grant"),
        (&provider.spa, &of_web, 400, "invalid_grant"),
        (&provider.web, &of_spa, 400, "invalid_grant"),
        // A confidential client that only says its name.
        (&named, &of_web, 401, "invalid_client"),
    ] {
        let answer = provider.refresh(client, &tokens.text_of("refresh_token"), &[]).await;
        refused(&answer, status, error);
    }
    // Nothing of this ended anything.
    for (client, tokens) in [(&provider.web, &of_web), (&provider.spa, &of_spa)] {
        provider.refresh(client, &tokens.text_of("refresh_token"), &[]).await.expect(200);
    }
}

#[tokio::test]
async fn refresh_rotates_repeats_and_notices_theft() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let first = provider.tokens_of_spa(&browser).await.text_of("refresh_token");
    let second = provider.refresh(&provider.spa, &first, &[]).await.expect(200);
    let again = provider.refresh(&provider.spa, &first, &[]).await.expect(200);
    assert_eq!(second.text_of("refresh_token"), again.text_of("refresh_token"));
    let id = |answer: &Answer| answer.text_of("id_token").split('.').nth(1).unwrap().to_owned();
    assert_eq!(id(&second).len(), id(&again).len());
    let second = second.text_of("refresh_token");
    let third = provider.refresh(&provider.spa, &second, &[]).await.expect(200);
    refused(&provider.refresh(&provider.spa, &first, &[]).await, 400, "invalid_grant");
    let third = third.text_of("refresh_token");
    refused(&provider.refresh(&provider.spa, &third, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn scope_growth_on_refresh() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let code = provider.code(&browser, &[("scope", "openid cart")]).await;
    let mut tokens = provider.redeem(&code).await.expect(200);
    for (asked, given) in [
        ("cart", Some("cart")),
        // What it gave up for one token it has again.
        ("", Some("openid cart")),
        ("cart openid", Some("cart openid")),
        ("openid profile", None),
        ("admin", None),
        ("openid\"", None),
    ] {
        let token = tokens.text_of("refresh_token");
        let answer = provider.refresh(&provider.web, &token, &[("scope", asked)]).await;
        match given {
            Some(given) => {
                tokens = answer.expect(200);
                assert_eq!(tokens.text_of("scope"), given);
                let has_id = given.contains("openid");
                assert_eq!(tokens.json()["id_token"].is_string(), has_id, "{asked}");
            }
            None => refused(&answer, 400, "invalid_scope"),
        }
    }
}
