//! What must be refused, and why; and what is issued.

use serde_json::{Value, json};
use symbolon_core::{id::*, keys::*, time::Time, token::*};

use crate::forge::*;

const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

const ES256: Algorithm = Algorithm::Es256;

fn check(name: &str, token: &str, expected: Result<(), InvalidToken>) {
    assert_eq!(verifier().verify(token, NOW).map(drop), expected, "{name}");
}

fn with(mut object: Value, name: &str, value: Value) -> String {
    object[name] = value;
    object.to_string()
}

fn without(mut object: Value, name: &str) -> String {
    assert!(object.as_object_mut().unwrap().remove(name).is_some(), "{name} was not there");
    object.to_string()
}

/// The text of an object with one more member in front, even if it has one of that name.
fn doubled(object: &Value, member: &str) -> String {
    object.to_string().replacen('{', &format!("{{{member},"), 1)
}

fn wire() -> Value {
    serde_json::to_value(claims()).unwrap()
}

#[test]
fn headers() {
    use InvalidToken::{Algorithm as Alg, Header, Malformed, Type, UnknownKey};
    let ours = || header(ES256);
    let private = json!({"kty": "EC", "crv": "P-256", "x": "", "y": ""});
    let cases = [
        ("the control", ours().to_string(), Ok(())),
        ("typ JWT", with(ours(), "typ", json!("JWT")), Ok(())),
        ("members in another order, with space", format!(" {}\n", ours()), Ok(())),
        ("crit with an unknown extension", with(ours(), "crit", json!(["x"])), Err(Header)),
        ("crit b64", doubled(&ours(), r#""b64":false,"crit":["b64"]"#), Err(Header)),
        ("b64 alone", with(ours(), "b64", json!(true)), Err(Header)),
        ("crit empty", with(ours(), "crit", json!([])), Err(Header)),
        ("another typ", with(ours(), "typ", json!("logout+jwt")), Err(Header)),
        ("typ in other letters", with(ours(), "typ", json!("AT+JWT")), Err(Header)),
        ("typ with application/", with(ours(), "typ", json!("application/at+jwt")), Err(Header)),
        ("no typ", without(ours(), "typ"), Err(Header)),
        ("typ null", with(ours(), "typ", Value::Null), Err(Header)),
        ("alg twice, none first", doubled(&ours(), r#""alg":"none""#), Err(Header)),
        ("alg twice, the same", doubled(&ours(), r#""alg":"ES256""#), Err(Header)),
        ("alg twice, escaped", doubled(&ours(), r#""\u0061lg":"ES256""#), Err(Header)),
        ("kid twice", doubled(&ours(), r#""kid":"x""#), Err(Header)),
        ("alg none", with(ours(), "alg", json!("none")), Err(Header)),
        ("alg nOnE", with(ours(), "alg", json!("nOnE")), Err(Header)),
        ("alg es256", with(ours(), "alg", json!("es256")), Err(Header)),
        ("alg HS256", with(ours(), "alg", json!("HS256")), Err(Header)),
        ("alg of another key", with(ours(), "alg", json!("RS256")), Err(Alg)),
        ("alg missing", without(ours(), "alg"), Err(Header)),
        ("kid missing", without(ours(), "kid"), Err(Header)),
        ("kid a number", with(ours(), "kid", json!(1)), Err(Header)),
        ("kid a path", with(ours(), "kid", json!("../../dev/null")), Err(Header)),
        ("kid of nobody", with(ours(), "kid", json!("AAAAAAAAAAAAAAAAAAAAAA")), Err(UnknownKey)),
        (
            "kid of another key",
            with(ours(), "kid", header(Algorithm::Rs256)["kid"].clone()),
            Err(Alg),
        ),
        ("jku", with(ours(), "jku", json!("https://x")), Err(Header)),
        ("x5u", with(ours(), "x5u", json!("https://x")), Err(Header)),
        ("jwk", with(ours(), "jwk", private), Err(Header)),
        ("x5c", with(ours(), "x5c", json!(["x"])), Err(Header)),
        ("zip", with(ours(), "zip", json!("DEF")), Err(Header)),
        ("an unknown member", with(ours(), "x", json!(1)), Err(Header)),
        ("more than one object", format!("{0}{0}", ours()), Err(Header)),
        ("an array", "[]".into(), Err(Header)),
        ("nothing", String::new(), Err(Header)),
        ("no text", "\u{0}".into(), Err(Header)),
        ("very long", with(ours(), "x", json!("x".repeat(1000))), Err(Malformed)),
    ];
    for (name, header, expected) in cases {
        check(name, &sign(&header, &wire().to_string(), ES256), expected);
    }
    let mut only_at = rules();
    only_at.types = vec![TokenType::AtJwt];
    let verifier = Verifier::new(only_at, [key(ES256).verifying_key().clone()]);
    let jwt = claims().issue(TokenType::Jwt, key(ES256)).unwrap();
    assert_eq!(verifier.verify(jwt.expose(), NOW), Err(Type));
}

#[test]
fn claims_sets() {
    use InvalidToken::{Audience, Claims, Expired, Issuer, Lifetime, NotYetValid};
    let at = |seconds: i64| json!(NOW.secs() + seconds);
    // A user's id that is made of a client id's letters.
    let user = json!("aaaaaaaaaaaaaaaaaaaaag");
    assert!(user.as_str().unwrap().parse::<UserId>().is_ok());
    let mut cases = vec![
        ("the control", wire().to_string(), Ok(())),
        ("sub twice", doubled(&wire(), r#""sub":"x""#), Err(Claims)),
        ("exp twice", doubled(&wire(), r#""exp":1"#), Err(Claims)),
        ("exp twice, escaped", doubled(&wire(), r#""e\u0078p":1"#), Err(Claims)),
        ("an unknown claim", with(wire(), "x", json!({"y": [1, 2.5, null]})), Ok(())),
        ("an unknown claim twice", doubled(&wire(), r#""x":1,"x":1"#), Err(Claims)),
        ("a name twice inside", doubled(&wire(), r#""x":[{"a":1,"a":2}]"#), Err(Claims)),
        ("aud of others", with(wire(), "aud", json!(["x", "y"])), Err(Audience)),
        ("aud with ours in it", with(wire(), "aud", json!(["x", AUDIENCE])), Ok(())),
        ("aud empty", with(wire(), "aud", json!([])), Err(Claims)),
        ("aud null", with(wire(), "aud", Value::Null), Err(Claims)),
        ("aud with a number", with(wire(), "aud", json!([AUDIENCE, 1])), Err(Claims)),
        ("aud only begins like ours", with(wire(), "aud", json!(&AUDIENCE[1..])), Err(Audience)),
        ("iss another", with(wire(), "iss", json!("https://evil.example")), Err(Issuer)),
        ("iss with a slash", with(wire(), "iss", json!(format!("{ISSUER}/"))), Err(Issuer)),
        ("iss an array", with(wire(), "iss", json!([ISSUER])), Err(Claims)),
        ("nbf in the future", with(wire(), "nbf", at(3600)), Err(NotYetValid)),
        ("nbf within leeway", with(wire(), "nbf", at(30)), Ok(())),
        ("nbf null", with(wire(), "nbf", Value::Null), Err(Claims)),
        ("nbf a string", with(wire(), "nbf", json!("1")), Err(Claims)),
        ("exp a string", with(wire(), "exp", json!("4000000300")), Err(Claims)),
        ("exp 1e300", with(wire(), "exp", json!(1e300)), Err(Claims)),
        ("exp a fraction", with(wire(), "exp", json!(4_000_000_300.5)), Err(Claims)),
        ("exp the largest", with(wire(), "exp", json!(i64::MAX)), Err(Lifetime)),
        ("exp beyond 64 bits", with(wire(), "exp", json!(u64::MAX)), Err(Claims)),
        ("exp negative", with(wire(), "exp", json!(-1)), Err(Lifetime)),
        ("exp = iat", with(wire(), "exp", at(0)), Err(Lifetime)),
        ("a life of an hour", with(wire(), "exp", at(3600)), Ok(())),
        ("a life of more", with(wire(), "exp", at(3601)), Err(Lifetime)),
        ("iat long ago", with(wire(), "iat", json!(i64::MIN)), Err(Lifetime)),
        ("sub of the client", with(wire(), "sub", json!("shop")), Ok(())),
        ("sub of another client", with(wire(), "sub", json!("other")), Err(Claims)),
        ("sub a number", with(wire(), "sub", json!(1)), Err(Claims)),
        ("client_id like a user", with(with_sub(&user), "client_id", user), Err(Claims)),
        ("sid short", with(wire(), "sid", json!("AAAA")), Err(Claims)),
        ("jti loose", with(wire(), "jti", json!("AAAAAAAAAAAAAAAAAAAAAB")), Err(Claims)),
        ("roles a string", with(wire(), "roles", json!("admin")), Err(Claims)),
        ("roles null", with(wire(), "roles", Value::Null), Err(Claims)),
        ("scope an array", with(wire(), "scope", json!(["a"])), Err(Claims)),
        ("an array", "[]".into(), Err(Claims)),
        ("nothing", String::new(), Err(Claims)),
        ("an ID token's nonce", with(wire(), "nonce", json!("x")), Err(Claims)),
        ("an ID token's hash", with(wire(), "at_hash", Value::Null), Err(Claims)),
        ("a logout token's events", with(wire(), "events", json!({})), Err(Claims)),
        ("bound to nothing", with(wire(), "cnf", json!({})), Err(Claims)),
        ("bound to no key", with(wire(), "cnf", json!({"jkt": "x"})), Err(Claims)),
        ("bound to a certificate", with(wire(), "cnf", json!({"x5t#S256": JKT})), Err(Claims)),
        ("bound twice", with(wire(), "cnf", json!({"jkt": JKT, "jwk": {}})), Err(Claims)),
        ("bound to a key", with(wire(), "cnf", json!({"jkt": JKT})), Ok(())),
    ];
    for name in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "sid"] {
        cases.push((name, without(wire(), name), Err(Claims)));
    }
    let moved = |from: i64, to: i64| {
        with(serde_json::from_str(&with(wire(), "iat", at(from))).unwrap(), "exp", at(to))
    };
    cases.extend([
        ("iat within leeway", moved(30, 300), Ok(())),
        ("iat beyond leeway", moved(31, 300), Err(NotYetValid)),
        ("expired within leeway", moved(-300, -29), Ok(())),
        ("expired", moved(-300, -30), Err(Expired)),
    ]);
    for (name, claims, expected) in cases {
        check(name, &sign(&header(ES256).to_string(), &claims, ES256), expected);
    }
}

fn with_sub(sub: &Value) -> Value {
    let mut claims = wire();
    claims["sub"] = sub.clone();
    claims
}

#[test]
fn shapes() {
    use InvalidToken::{Malformed, Signature, TooLong};
    let good = sign(&header(ES256).to_string(), &wire().to_string(), ES256);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    // 86 characters for 64 bytes: the last one carries four bits that mean nothing.
    let loose = {
        let last = signature.chars().last().unwrap();
        let other = char::from(last as u8 + 1);
        format!("{}{other}", &good[..good.len() - 1])
    };
    let cases = [
        ("nothing", String::new(), Malformed),
        ("one dot", signed.into(), Malformed),
        ("two dots alone", "..".into(), InvalidToken::Header),
        ("no signature", format!("{signed}."), Signature),
        ("four parts", format!("{good}.x"), Malformed),
        ("five parts, a JWE", format!("{good}.x.x"), Malformed),
        ("padding", format!("{good}=="), Malformed),
        ("padding inside", format!("{head}=.{claims}.{signature}"), Malformed),
        ("a loose tail", loose, Malformed),
        ("a space in front", format!(" {good}"), Malformed),
        ("a new line behind", format!("{good}\n"), Malformed),
        ("a question mark", good.replacen('.', "?.", 1), Malformed),
        ("JSON serialization", json!({"payload": claims}).to_string(), Malformed),
        ("not ASCII", format!("é{good}"), Malformed),
        ("all-zero signature", format!("{signed}.{}", encode([0; 64])), Signature),
        ("a DER signature", format!("{signed}.{}", encode([0x30; 71])), Signature),
        ("a signature too long", format!("{signed}.{}", encode([1; 513])), Malformed),
        ("claims of another", format!("{head}.{}.{signature}", encode("{}")), Signature),
        ("very long", format!("{signed}.{}", "A".repeat(TOKEN_BYTES_MAX)), TooLong),
        ("100 kB", "A".repeat(100_000), TooLong),
    ];
    check("the control", &good, Ok(()));
    for (name, token, expected) in cases {
        check(name, &token, Err(expected));
    }
}

#[test]
fn what_is_issued_verifies() {
    let mut client = claims();
    client.user = None;
    for claims in [claims(), full_claims(), client] {
        for typ in [TokenType::AtJwt, TokenType::Jwt] {
            for key in KEYS.iter() {
                let token = claims.issue(typ, key).unwrap();
                let verified = verifier().verify(token.expose(), NOW).unwrap();
                let key = key.verifying_key().id();
                assert_eq!(verified, AccessToken { claims: claims.clone(), typ: Some(typ), key });
            }
        }
    }
    assert_eq!(full_claims().scopes().collect::<Vec<_>>(), ["cart:read", "cart:write"]);
}

#[test]
fn what_is_not_issued() {
    let check = |claims: Claims, typ, expected| {
        assert_eq!(claims.issue(typ, key(ES256)).map(drop), expected, "{claims:?}");
    };
    let for_itself = || Claims { aud: "shop".into(), ..claims() };
    check(for_itself(), TokenType::AtJwt, Ok(()));
    check(for_itself(), TokenType::Jwt, Err(CannotIssue::LooksLikeIdToken));
    check(Claims { exp: NOW, ..claims() }, TokenType::AtJwt, Err(CannotIssue::Times));
    let long = Claims { roles: vec!["x".repeat(6000).into()], ..claims() };
    check(long, TokenType::AtJwt, Err(CannotIssue::TooLong));
}

#[test]
fn tokens_are_short() {
    let bytes = |claims: &Claims, algorithm| {
        claims.issue(TokenType::AtJwt, key(algorithm)).unwrap().expose().len()
    };
    assert_eq!((ISSUER.len(), AUDIENCE.len()), (24, 24), "the budget is for these lengths");
    for (algorithm, most) in [(ES256, 480), (Algorithm::Ed25519, 480), (Algorithm::Rs256, 736)] {
        let bytes = bytes(&claims(), algorithm);
        assert!(bytes <= most, "{algorithm}: {bytes} bytes");
    }
}

#[test]
fn keys_that_are_refused() {
    let good = |algorithm| serde_json::to_value(key(algorithm).verifying_key().jwk()).unwrap();
    let check = |name: &str, jwk: Value, expected: Result<(), InvalidKey>| {
        let jwk: Jwk = serde_json::from_value(jwk).unwrap();
        assert_eq!(VerifyingKey::from_jwk(&jwk).map(drop), expected, "{name}");
    };
    let change = |algorithm, name: &str, value: Value| {
        let mut jwk = good(algorithm);
        jwk[name] = value;
        jwk
    };
    let rsa = Algorithm::Rs256;
    for algorithm in Algorithm::ALL {
        check("the control", good(algorithm), Ok(()));
        for name in ["alg", "use"] {
            let mut jwk = good(algorithm);
            jwk.as_object_mut().unwrap().remove(name);
            check("optional", jwk, Ok(()));
        }
        for name in
            ["x", "y", "n", "e"].into_iter().filter(|name| good(algorithm).get(*name).is_some())
        {
            check("no part", change(algorithm, name, Value::Null), Err(InvalidKey::Malformed));
            check("loose", change(algorithm, name, json!("AB")), Err(InvalidKey::Malformed));
            check("padded", change(algorithm, name, json!("AA==")), Err(InvalidKey::Malformed));
            check(
                "empty",
                change(algorithm, name, json!("")),
                Err(if "ne".contains(name) { InvalidKey::Rsa } else { InvalidKey::Malformed }),
            );
        }
        let for_no_check = Err(InvalidKey::NotForVerifying);
        check("verify", change(algorithm, "key_ops", json!(["verify"])), Ok(()));
        check("sign", change(algorithm, "key_ops", json!(["sign"])), for_no_check);
        check("enc", change(algorithm, "use", json!("enc")), for_no_check);
        check("private", change(algorithm, "d", json!("AQ")), for_no_check);
        check("alg", change(algorithm, "alg", json!("PS256")), Err(InvalidKey::Unsupported));
        check("crv", change(algorithm, "crv", json!("P-384")), Err(InvalidKey::Unsupported));
        check("kty", change(algorithm, "kty", json!("oct")), Err(InvalidKey::Unsupported));
        check("kid", change(algorithm, "kid", json!("1")), Err(InvalidKey::Id));
        check("kid", change(algorithm, "kid", Value::Null), Err(InvalidKey::Id));
    }
    let (zero, small) = (encode([0; 32]), encode([0xff; 255]));
    check("not on the curve", change(ES256, "x", json!(zero)), Err(InvalidKey::Malformed));
    check("2040 bits", change(rsa, "n", json!(small)), Err(InvalidKey::Rsa));
    let bits_2047 = [vec![0x7f], vec![0xff; 255]].concat();
    check("2047 bits", change(rsa, "n", json!(encode(bits_2047))), Err(InvalidKey::Rsa));
    check("8192 bits", change(rsa, "n", json!(encode([0xff; 1024]))), Err(InvalidKey::Rsa));
    check("e = 3", change(rsa, "e", json!("Aw")), Err(InvalidKey::Rsa));
    let zeros = [vec![0], vec![0xff; 256]].concat();
    check("zeros before", change(rsa, "n", json!(encode(zeros))), Err(InvalidKey::Malformed));
}

#[test]
fn another_key_of_the_same_id_verifies_nothing() {
    let id = key(ES256).verifying_key().id();
    let other = SigningKey::generate(id, ES256).unwrap();
    let token = claims().issue(TokenType::AtJwt, &other).unwrap();
    check("another key's token", token.expose(), Err(InvalidToken::Signature));
}

#[test]
fn time_has_no_edge() {
    let token = claims().issue(TokenType::AtJwt, key(ES256)).unwrap();
    for (now, expected) in [
        (Time::from_millis(i64::MIN), InvalidToken::NotYetValid),
        (Time::from_millis(0), InvalidToken::NotYetValid),
        (Time::from_millis(i64::MAX), InvalidToken::Expired),
    ] {
        assert_eq!(verifier().verify(token.expose(), now), Err(expected));
    }
}
