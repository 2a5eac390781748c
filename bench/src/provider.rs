//! What a provider of OAuth 2.0 and OpenID Connect does all day, beside node-oidc-provider where it is installed.

use std::{
    hint::black_box,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use axum::{
    body::Body,
    http::{Request, header},
};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_core::{
    id::KeyId,
    keys::{Algorithm, SigningKey},
};

use crate::{
    harness::{Result, Rounds, micros_each},
    load::{Job, Load, Step, Walk},
    table::{Row, Table},
    traffic::{CONNECTIONS, Measured, ROUND_MS, alternate, repeat},
    world::{World, answer, bare, basic_of},
};

const CALLBACK: &str = "https%3A%2F%2Fweb.example%2Fcallback";
/// The example of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const SECRET: &str = "a secret of the bench";

/// node-oidc-provider in a process of its own, on the core of our server.
struct Peer {
    child: Child,
    ready: Ready,
}

#[derive(Deserialize)]
struct Ready {
    version: String,
    port: u16,
    cookie: String,
}

impl Peer {
    /// `None` if it is not installed.
    fn start() -> Result<Option<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        if !folder.join("node_modules/oidc-provider").exists() {
            return Ok(None);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "node", "oidc-provider.js"]).current_dir(folder);
        command.env("SECRET", SECRET).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let ready = serde_json::from_str(&line)?;
        Ok(Some(Self { child, ready }))
    }

    fn job(&self, walks: Vec<Walk>) -> Job {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ready.port));
        Job {
            address,
            for_ms: ROUND_MS,
            once: false,
            pause_ms: 0,
            walks,
            process: Some(self.child.id()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server, the bare application, the load and the peer.
struct Field {
    world: World,
    node: SocketAddr,
    load: Load,
    peer: Option<Peer>,
}

impl Field {
    fn new() -> Result<Self> {
        let world = World::on_one_core()?;
        let node = world.serve()?;
        Ok(Self { world, node, load: Load::start()?, peer: Peer::start()? })
    }

    fn job(&self, walks: Vec<Walk>) -> Job {
        Job { address: self.node, for_ms: ROUND_MS, once: false, pause_ms: 0, walks, process: None }
    }

    /// Measures walks beside a route that gives the last answer of them, and beside the peer's.
    fn measure(&mut self, ours: Vec<Walk>, peers: Vec<Walk>, answer: Value) -> Result<Beside> {
        let step = ours.first().and_then(|walk| walk.steps.last()).ok_or("no step")?;
        let path = step.head.split(' ').nth(1).ok_or("no path")?;
        let plain = Step { take_after: None, ..step.clone() };
        let bare = repeat(self.world.serve_axum(bare(path, answer))?, plain);
        let node = self.job(ours);
        Ok(if let Some(peer) = &self.peer {
            let [bare, node, other] = alternate(&mut self.load, [bare, node, peer.job(peers)])?;
            Beside { bare, node, peer: Some((peer.ready.version.clone(), other)) }
        } else {
            let [bare, node] = alternate(&mut self.load, [bare, node])?;
            Beside { bare, node, peer: None }
        })
    }

    /// What the last answer of each walk has after this text; nothing of a peer that is not there.
    fn take(&mut self, ours: Vec<Walk>, peers: Vec<Walk>, after: &str) -> Result<[Vec<String>; 2]> {
        let taking = |mut walks: Vec<Walk>| {
            let last = walks.iter_mut().filter_map(|walk| walk.steps.last_mut());
            last.for_each(|step| step.take_after = Some(after.to_owned()));
            walks
        };
        let job = Job { for_ms: 1, ..self.job(taking(ours)) };
        let ours = self.load.run(&job)?.taken;
        let Some(peer) = &self.peer else { return Ok([ours, Vec::new()]) };
        let job = Job { for_ms: 1, ..peer.job(taking(peers)) };
        Ok([ours, self.load.run(&job)?.taken])
    }

    /// Adds a client that logs users in.
    fn add_web(&self) -> Result<String> {
        self.world.add_client(&json!({
            "id": "web", "kind": "confidential", "first_party": true,
            "redirect_uris": ["https://web.example/callback"],
            "audiences": ["https://api.example"], "id_token_algorithm": "ES256",
        }))
    }

    /// Its logins, each in a browser session of its own, and the peer's.
    fn logins(&self, secret: &str) -> Result<[Vec<Walk>; 2]> {
        let cookies = (0..CONNECTIONS).map(|_| self.world.login("session"));
        let ours = cookies
            .map(|login| {
                let cookie = login?.0.ok_or("no cookie")?;
                Ok(login_walk(["/oauth2/authorize", "/oauth2/token"], &cookie, secret))
            })
            .collect::<Result<_>>()?;
        let theirs = self
            .peer
            .iter()
            .map(|peer| login_walk(["/auth", "/token"], &peer.ready.cookie, &form_secret()));
        Ok([ours, theirs.cycle().take(CONNECTIONS).collect()])
    }

    fn ask(&self, request: Request<Body>) -> Result<Value> {
        Ok(self.world.runtime.block_on(answer(&self.world.router, request))?.1)
    }

    fn post(&self, path: &str, authorization: &str, form: String) -> Result<Value> {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(request.body(form.into())?)
    }
}

struct Beside {
    bare: Measured,
    node: Measured,
    peer: Option<(String, Measured)>,
}

impl Beside {
    fn light(&self, table: &mut Table, figure: &str) -> Result<()> {
        table.row(&Row {
            figure,
            measured: format!("{}; {}", self.node.beside(&self.bare), self.peer()),
            budget: "",
            how: "over HTTP, as `serve` runs it, against a bare axum route that answers the same JSON",
        })?;
        Ok(())
    }

    fn durable(&self, table: &mut Table, figure: &str, how: &str) -> Result<()> {
        let bare_answers = self.node.cpu_us.over(&self.bare.cpu_us);
        table.row(&Row {
            figure,
            measured: format!(
                "{}/s; CPU {} µs, what {bare_answers} bare answers take; {}",
                self.node.per_sec,
                self.node.cpu_us,
                self.peer(),
            ),
            budget: "",
            how,
        })?;
        Ok(())
    }

    fn peer(&self) -> String {
        self.peer.as_ref().map_or_else(
            || "node-oidc-provider is not installed (npm --prefix bench/peers ci)".to_owned(),
            |(version, peer)| {
                format!(
                    "node-oidc-provider {version} (all in memory) {}/s, CPU {} µs: we {} × by CPU",
                    peer.per_sec,
                    peer.cpu_us,
                    peer.cpu_us.over(&self.node.cpu_us)
                )
            },
        )
    }
}

fn headers(client: &str, secret: &str) -> String {
    format!("authorization: {}\r\n", basic_of(client, secret))
}

/// What one signature costs, in microseconds of CPU.
fn signature(algorithm: Algorithm) -> Result<Rounds> {
    let key = SigningKey::generate(KeyId::random(&mut symbolon::app::Os), algorithm)?.to_pkcs8()?;
    let (rng, message) = (SystemRandom::new(), [7; 400]);
    let mut sign: Box<dyn FnMut()> = match algorithm {
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key)?;
            Box::new(move || _ = black_box(pair.sign(&rng, &message)))
        }
        Algorithm::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8(&key)?;
            Box::new(move || _ = black_box(pair.try_sign(&message)))
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::from_pkcs8(&key)?;
            let mut out = vec![0; pair.public_modulus_len()];
            Box::new(move || _ = black_box(pair.sign(&RSA_PKCS1_SHA256, &rng, &message, &mut out)))
        }
    };
    let [each] = micros_each(11, 200, [&mut *sign]);
    Ok(each)
}

/// Tokens of machine clients, one signature each.
pub(crate) fn machines(table: &mut Table) -> Result<()> {
    let mut field = Field::new()?;
    for algorithm in Algorithm::ALL {
        let id = format!("robot-{}", algorithm.name().to_ascii_lowercase());
        let secret = field.world.add_client(&json!({
            "id": id, "kind": "confidential", "grant_types": ["client_credentials"],
            "scopes": ["read"], "audiences": ["https://api.example"], "algorithm": algorithm,
        }))?;
        let form = "grant_type=client_credentials&scope=read";
        let example = field.post("/oauth2/token", &basic_of(&id, &secret), form.to_owned())?;
        let ours = Step::form("/oauth2/token", &headers(&id, &secret), form);
        let resource = format!("{form}&resource=https%3A%2F%2Fapi.example%2F{algorithm}");
        let theirs = Step::form("/token", &headers("robot", &form_secret()), &resource);
        let beside = field.measure(all(ours), all(theirs), example)?;
        let signature = signature(algorithm)?;
        let least = beside.bare.cpu_us.median() + signature.median();
        table.row(&Row {
            figure: &format!("client_credentials ({algorithm})"),
            measured: format!(
                "{}/s; CPU {} µs, of which a bare answer takes {} and a signature {signature}: {:.0} %; {}",
                beside.node.per_sec,
                beside.node.cpu_us,
                beside.bare.cpu_us,
                100.0 * least / beside.node.cpu_us.median(),
                beside.peer(),
            ),
            budget: "≥ 70 % of 1 / (bare request + one signature)",
            how: "`POST /oauth2/token` with HTTP Basic, as `serve` runs it",
        })?;
    }
    Ok(())
}

/// Node-oidc-provider reads the secret of HTTP Basic as a form does (RFC 6749, section 2.3.1).
fn form_secret() -> String {
    SECRET.replace(' ', "+")
}

/// The same request on every connection.
fn all(step: Step) -> Vec<Walk> {
    vec![step.into(); CONNECTIONS]
}

fn login_walk([authorize, token]: [&str; 2], cookie: &str, secret: &str) -> Walk {
    let question = Step::get(format!(
        "GET {authorize}?client_id=web&response_type=code&redirect_uri={CALLBACK}&state=of-the-bench\
         &scope=openid%20profile&code_challenge={CHALLENGE}&code_challenge_method=S256 HTTP/1.1\r\n\
         host: localhost:8080\r\ncookie: {cookie}\r\n"
    ));
    let form = format!(
        "grant_type=authorization_code&code={{}}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"
    );
    let redemption = Step::form(token, &headers("web", secret), &form);
    Walk { steps: vec![question.taking("code="), redemption], taken: String::new() }
}

/// Whole logins but for the password.
pub(crate) fn codes(table: &mut Table) -> Result<()> {
    let mut field = Field::new()?;
    let secret = field.add_web()?;
    let [ours, theirs] = field.logins(&secret)?;
    let beside = field.measure(ours, theirs, json!({ "any": "answer" }))?;
    beside.durable(
        table,
        "code and PKCE, a whole login but for the password",
        "authorization request with a session cookie, then the code for access, refresh and ID token (ES256): two commits, each durable before its answer (SQLite, synchronous=FULL)",
    )
}

/// Rotations of refresh tokens at the token endpoint.
pub(crate) fn rotations(table: &mut Table) -> Result<()> {
    const AFTER: &str = r#""refresh_token":""#;
    let mut field = Field::new()?;
    let secret = field.add_web()?;
    let [ours, theirs] = field.logins(&secret)?;
    let [ours, theirs] = field.take(ours, theirs, AFTER)?;
    let form = "grant_type=refresh_token&refresh_token={}";
    let walks = |path: &str, secret: &str, tokens: Vec<String>| {
        let step = Step::form(path, &headers("web", secret), form).taking(AFTER);
        let walk = |taken| Walk { steps: vec![step.clone()], taken };
        tokens.into_iter().map(walk).collect::<Vec<_>>()
    };
    let (ours, theirs) =
        (walks("/oauth2/token", &secret, ours), walks("/token", &form_secret(), theirs));
    let beside = field.measure(ours, theirs, json!({ "any": "answer" }))?;
    beside.durable(
        table,
        "refresh at the token endpoint",
        "a rotation, a new access token and ID token (ES256), durable before the answer (SQLite, synchronous=FULL); 32 sessions at once",
    )
}

/// What a client asks again and again: discovery, keys, userinfo, introspection.
pub(crate) fn lookups(table: &mut Table) -> Result<()> {
    let mut field = Field::new()?;
    let secret = field.add_web()?;
    let [ours, theirs] = field.logins(&secret)?;
    let [ours, theirs] = field.take(ours, theirs, r#""access_token":""#)?;
    let bearer = |tokens: &[String]| {
        let token = tokens.first().map(String::as_str).unwrap_or_default();
        format!("authorization: Bearer {token}\r\n")
    };
    for (figure, paths, [our, their]) in [
        ("discovery", ["/.well-known/openid-configuration"; 2], [String::new(), String::new()]),
        ("JWKS", ["/.well-known/jwks.json", "/jwks"], [String::new(), String::new()]),
        ("userinfo", ["/oauth2/userinfo", "/me"], [bearer(&ours), bearer(&theirs)]),
    ] {
        let get = |path: &str, header: &str| {
            all(Step::get(format!("GET {path} HTTP/1.1\r\nhost: localhost:8080\r\n{header}")))
        };
        let mut request = Request::get(paths[0]);
        if let Some((name, value)) = our.trim().split_once(": ") {
            request = request.header(name, value);
        }
        let example = field.ask(request.body(Body::empty())?)?;
        let beside = field.measure(get(paths[0], &our), get(paths[1], &their), example)?;
        beside.light(table, figure)?;
    }
    let form = |tokens: &[String]| {
        format!("token={}", tokens.first().map(String::as_str).unwrap_or_default())
    };
    let example = field.post("/oauth2/introspect", &basic_of("web", &secret), form(&ours))?;
    let own = Step::form("/oauth2/introspect", &headers("web", &secret), &form(&ours));
    let other = Step::form("/token/introspection", &headers("web", &form_secret()), &form(&theirs));
    field.measure(all(own), all(other), example)?.light(table, "introspection by the client")
}
