//! The FAPI 2.0 Security Profile as clients walk it: pushed requests, `private_key_jwt` and DPoP, all at once.

use serde_json::json;

use crate::{
    keys::{ASSERTION_TYPE, Key},
    oauth::{CALLBACK, Fields, VERIFIER, opened, refused, s256, sent},
    world::{Answer, World, ask},
};

/// A client with a key that proves who it is and one that its tokens are bound to.
struct Client<'w> {
    world: &'w World,
    id: &'static str,
    own: Key,
    bound: Key,
}

impl<'w> Client<'w> {
    async fn new(world: &'w World, id: &'static str) -> Self {
        let (own, bound) = (Key::new(), Key::new());
        let more = json!({
            "first_party": true, "redirect_uris": [CALLBACK], "dpop_bound_access_tokens": true,
            "require_pushed_authorization_requests": true, "jwks": { "keys": [own.named("1")] },
        });
        world.add_client(id, "confidential", more).await;
        Self { world, id, own, bound }
    }

    async fn post(&self, path: &str, fields: Fields<'_>) -> Answer {
        let assertion = self.own.assertion(self.id, "1", &json!({}));
        let own = [
            ("client_id", self.id),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &*assertion),
        ];
        let proof = self.bound.proof(("POST", path), None, &json!({}));
        let post = ask("POST", path).form(&[&own[..], fields].concat());
        self.world.send(post.header("dpop", &proof)).await
    }

    async fn code(&self, browser: &str) -> String {
        let challenge = s256(VERIFIER);
        let request = [
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", self.id),
            ("code_challenge", &*challenge),
            ("code_challenge_method", "S256"),
        ];
        let uri = self.post("/oauth2/par", &request).await.expect(201).text_of("request_uri");
        let link = [("client_id", self.id), ("request_uri", &*uri)];
        let link = format!("/oauth2/authorize?{}", serde_urlencoded::to_string(link).unwrap());
        let back = self.world.send(ask("GET", &link).cookie(browser)).await.expect(303);
        assert_eq!(sent(back.location(), "state").as_deref(), Some(self.id));
        sent(back.location(), "code").unwrap()
    }

    async fn redeem(&self, code: &str) -> Answer {
        let redemption = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth2/token", &redemption).await
    }

    async fn userinfo(&self, token: &str) -> Answer {
        let path = "/oauth2/userinfo";
        let proof = self.bound.proof(("GET", path), Some(token), &json!({}));
        let get = ask("GET", path).header("authorization", &format!("DPoP {token}"));
        self.world.send(get.header("dpop", &proof)).await
    }
}

#[tokio::test]
async fn the_whole_walk_of_two_clients() {
    let world = World::new().await;
    let browser = world.cookie("user").await;
    let clients = [Client::new(&world, "first").await, Client::new(&world, "second").await];
    let mut tokens = Vec::new();
    for client in &clients {
        let answer = client.redeem(&client.code(&browser).await).await.expect(200);
        assert_eq!(answer.text_of("token_type"), "DPoP");
        let token = answer.text_of("access_token");
        let (_, claims) = opened(&world, &token).await;
        assert_eq!(claims["cnf"]["jkt"], client.bound.thumbprint());
        assert!(client.userinfo(&token).await.expect(200).json()["sub"].is_string());
        world.send(ask("GET", "/oauth2/userinfo").bearer(&token)).await.expect(401);
        let refresh = answer.text_of("refresh_token");
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        client.post("/oauth2/token", &refresh).await.expect(200);
        tokens.push(token);
    }
    // Nothing of one is of use to the other.
    let [first, second] = &clients;
    assert_eq!(second.userinfo(&tokens[0]).await.status, 401);
    let code = first.code(&browser).await;
    refused(&second.redeem(&code).await, 400, "invalid_grant");
    first.redeem(&code).await.expect(200);
}
