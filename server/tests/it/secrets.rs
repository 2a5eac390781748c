//! No secret rests in clear or reaches a log: everything that was issued is looked for, in several spellings, in the
//! database, its write-ahead log, a backup and all log lines. One that is planted must be found.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::Path,
    sync::{Arc, Mutex, Once, OnceLock},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use sqlx::Connection;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::{
    codes, postgres,
    world::{PASSWORD, Tokens, World, ask},
};

/// Log lines, kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Lines of a subscriber of this thread. There is one for all other threads, too: where none listens, `tracing`
    /// may note that nobody wants an event, while another test is waiting for it.
    pub(crate) fn catching() -> Self {
        static ELSEWHERE: Once = Once::new();
        ELSEWHERE.call_once(|| {
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        });
        Self::default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// What this process logs, but for threads that have a subscriber of their own.
    pub(crate) fn of_the_process() -> &'static Self {
        static LINES: OnceLock<Lines> = OnceLock::new();
        LINES.get_or_init(|| {
            let lines = Self::default();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(LevelFilter::DEBUG)
                .with_writer(lines.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            lines
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn since(&self, start: usize) -> Vec<u8> {
        self.0.lock().unwrap()[start..].to_vec()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The spellings in which a secret could have got somewhere.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let mut all = vec![secret.as_bytes().to_vec()];
    let mut add = |bytes: &[u8]| {
        all.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
        all.push(bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes());
        // The first and the last characters depend on what stands beside them.
        let encoded = STANDARD_NO_PAD.encode(bytes);
        all.push(encoded.as_bytes()[..encoded.len() - 4].to_vec());
    };
    add(secret.as_bytes());
    // What a handle or token is made of, beyond its public beginning.
    let part = match secret.split_once('_') {
        Some((prefix, part)) if prefix.len() == 4 => part,
        _ => secret.rsplit('.').next().unwrap_or_default(),
    };
    if let Some(bytes) = URL_SAFE_NO_PAD.decode(part).ok().filter(|bytes| bytes.len() >= 32) {
        add(&bytes[bytes.len() - 16..]);
        all.push(bytes[bytes.len() - 16..].to_vec());
    }
    all.push(part.as_bytes().to_vec());
    all
}

/// Which of the secrets stand in which of the places, in whatever spelling. Each place is read once.
pub(crate) fn found(secrets: &[String], places: &[(String, Vec<u8>)]) -> Vec<String> {
    const HEAD: usize = 8;
    let pair = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    // Nearly all places are told from a secret by two bytes.
    let mut begins = vec![false; 1 << 16];
    let mut by_head: HashMap<[u8; HEAD], Vec<(Vec<u8>, &str)>> = HashMap::new();
    for secret in secrets {
        for text in spellings(secret) {
            let head = *text.first_chunk().expect("a secret is longer than this");
            begins[pair(&head)] = true;
            by_head.entry(head).or_default().push((text, secret));
        }
    }
    let mut hits = BTreeSet::new();
    for (name, bytes) in places {
        for (at, head) in bytes.windows(HEAD).enumerate() {
            let Some(texts) = begins[pair(head)].then(|| by_head.get(head)).flatten() else {
                continue;
            };
            for (_, secret) in texts.iter().filter(|(text, _)| bytes[at..].starts_with(text)) {
                hits.insert(format!("{}… in {name}", &secret[..9.min(secret.len())]));
            }
        }
    }
    hits.into_iter().collect()
}

/// Uses everything that issues or takes a secret. Returns all of them.
async fn everything(world: &World) -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned()];
    let more = json!({ "first_party": true, "redirect_uris": [codes::CALLBACK] });
    let shop = world.add_client("shop", "confidential", more).await;
    let visitor =
        world.send(ask("POST", "/api/v1/sessions").basic(&shop).json(&json!({}))).await.expect(201);
    let planted = visitor.text_of("set_cookie");
    let planted = planted.strip_prefix("symbolon=").unwrap().split(';').next().unwrap().to_owned();
    let body = json!({ "username": "user", "password": PASSWORD });
    let login =
        world.send(ask("POST", "/api/v1/login").cookie(&planted).json(&body)).await.expect(200);
    let cookie = login.cookie("symbolon").unwrap();
    let first = world.tokens("user").await;
    let second = Tokens::from(&world.refresh(&first.refresh).await.expect(200));
    let handover = ask("POST", "/api/v1/handover").cookie(&cookie).by_our_page();
    let body = json!({ "to": "token", "password": PASSWORD });
    let third = world.send(handover.json(&body)).await.expect(200);
    let stepped_up = third.cookie("symbolon").unwrap();
    let third = Tokens::from(&third);
    let about = ask("POST", "/oauth2/introspect").basic(&shop).form(&[("token", &third.access)]);
    world.send(about).await.expect(200);
    secrets.extend(codes::one_walk(world, &shop, &stepped_up).await);
    let typed = "a password that nobody has";
    let wrong = json!({ "username": "user", "password": typed });
    world.send(ask("POST", "/api/v1/login").json(&wrong)).await.expect(401);
    let garbled = ask("POST", "/api/v1/login").header("content-type", "application/json");
    world.send(garbled.raw(format!("{{\"password\": [\"{typed}\"]}}"))).await.expect(400);
    let new = "a quite different long password";
    let change = json!({ "current_password": PASSWORD, "new_password": new });
    let change = ask("POST", "/api/v1/password").cookie(&stepped_up).by_our_page().json(&change);
    let renewed = world.send(change).await.expect(200).cookie("symbolon").unwrap();
    world.refresh(&first.refresh).await.expect(400);
    let invitation =
        symbolon::ops::register::invite(&world.app, symbolon::app::now()).await.unwrap();
    secrets.extend([
        planted,
        cookie,
        stepped_up,
        renewed,
        shop.1,
        typed.to_owned(),
        new.to_owned(),
    ]);
    secrets.push(invitation.expose().to_owned());
    for tokens in [first, second, third] {
        secrets.extend([tokens.access, tokens.refresh]);
    }
    secrets.push(
        std::fs::read_to_string(&world.app.config.master_key_file).unwrap().trim().to_owned(),
    );
    secrets
}

/// The files of a data folder that secrets could rest in, except the master key's.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = ["symbolon.db", "symbolon.db-wal", "symbolon.db-shm", "backup.db"];
    let read = |name: &str| Some((name.to_owned(), std::fs::read(folder.join(name)).ok()?));
    let files = names.into_iter().filter_map(read);
    let dumped = postgres::is_asked_for()
        .then(|| ("symbolon.db, dumped".to_owned(), postgres::dump_database_of(folder)));
    files.chain(dumped).collect()
}

async fn places(world: &World, lines: &Lines) -> Vec<(String, Vec<u8>)> {
    let folder = &world.app.config.data_dir;
    let mut places = vec![("the logs".to_owned(), lines.0.lock().unwrap().clone())];
    if postgres::is_asked_for() {
        places.extend(files(folder));
        return places;
    }
    let backup = folder.join("backup.db");
    let _ = std::fs::remove_file(&backup);
    let url = format!("sqlite:{}", folder.join("symbolon.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let query = sqlx::query("VACUUM INTO $1").bind(backup.display().to_string());
    query.execute(&mut connection).await.unwrap();
    places.extend(files(folder));
    assert!(places.len() >= 4, "the database, its log and a backup are there");
    places
}

#[tokio::test]
async fn no_secret_rests_or_is_logged() {
    let lines = Lines::catching();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(lines.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let mut secrets = everything(&world).await;
    assert!(!lines.0.lock().unwrap().is_empty(), "the logs were caught");
    assert_eq!(found(&secrets, &places(&world, &lines).await), Vec::<String>::new());

    // Two that are planted must be found: one in the database, one in the logs.
    let (rests, is_logged) = ("planted-in-the-database-1", "planted-in-the-logs-2");
    world.add_client(rests, "public", json!({})).await;
    tracing::info!(secret = is_logged, "planted");
    secrets.extend([rests.to_owned(), is_logged.to_owned()]);
    let hits = found(&secrets, &places(&world, &lines).await).join("; ");
    assert!(hits.contains("symbolon.db") && hits.contains("the logs"), "{hits}");
}

/// Every test that runs a [`World`] looks for what it was issued when it is over: here one that must be found.
#[tokio::test]
async fn a_world_notices_what_it_leaks() {
    let world = World::new().await;
    world.tokens("user").await;
    assert_eq!(world.leaks(), Vec::<String>::new());
    let (rests, is_logged) = ("planted-in-the-database-3", "planted-in-the-logs-4");
    world.add_client(rests, "public", json!({})).await;
    tracing::info!(secret = is_logged, "planted");
    let issued = std::mem::replace(
        &mut *world.issued.lock().unwrap(),
        vec![rests.to_owned(), is_logged.to_owned()],
    );
    assert!(issued.len() >= 2, "both halves of the login were noted");
    let leaks = world.leaks().join("; ");
    world.issued.lock().unwrap().clear();
    assert!(leaks.contains("symbolon.db") && leaks.contains("the logs"), "{leaks}");
}
