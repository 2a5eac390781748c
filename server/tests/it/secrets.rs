//! No secret rests in clear or reaches a log: everything that was issued is looked for, in several spellings, in the
//! database, its write-ahead log, a backup and all log lines. One that is planted must be found.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use sqlx::Connection;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::world::{PASSWORD, Tokens, World, ask};

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

fn found(secrets: &[String], places: &[(String, Vec<u8>)]) -> Vec<String> {
    let holds = |place: &[u8], text: &[u8]| place.windows(text.len()).any(|window| window == text);
    let mut hits = vec![];
    for secret in secrets {
        for (name, bytes) in places {
            if spellings(secret).iter().any(|text| holds(bytes, text)) {
                hits.push(format!("{}… in {name}", &secret[..9.min(secret.len())]));
            }
        }
    }
    hits
}

/// Uses everything that issues or takes a secret. Returns all of them.
async fn everything(world: &World) -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned()];
    let shop = world.add_client("shop", "confidential", json!({})).await;
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

async fn places(world: &World, lines: &Lines) -> Vec<(String, Vec<u8>)> {
    let folder = &world.app.config.data_dir;
    let backup = folder.join("backup.db");
    let _ = std::fs::remove_file(&backup);
    let url = format!("sqlite:{}", folder.join("symbolon.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let query = sqlx::query("VACUUM INTO $1").bind(backup.display().to_string());
    query.execute(&mut connection).await.unwrap();
    let mut places = vec![("the logs".to_owned(), lines.0.lock().unwrap().clone())];
    for name in ["symbolon.db", "symbolon.db-wal", "symbolon.db-shm", "backup.db"] {
        if let Ok(bytes) = std::fs::read(folder.join(name)) {
            places.push((name.to_owned(), bytes));
        }
    }
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
