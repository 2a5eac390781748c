//! An event stream and a WebSocket that end when the login does, whoever ends it.
//!
//! ```text
//! cargo run -p symbolon-guard --example streams -- http://localhost:8080 CLIENT localhost:8090 < secret
//! ```

use symbolon_guard::{
    Rules, SecretText,
    follow::{Following, Settings},
};
use tokio::{net::TcpListener, sync::broadcast};

mod routes;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(client), Some(listen)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("name a server, a client and where to listen; the secret comes on stdin".into());
    };
    let mut secret = String::new();
    std::io::stdin().read_line(&mut secret)?;
    let secret = SecretText::new(secret.trim_end().to_owned());

    let settings = Settings::new(server.clone(), client.parse()?, secret).audience(server.clone());
    let (following, task) = Following::new(settings)?;
    tokio::spawn(task);

    let chat = routes::Chat { following, said: broadcast::channel(64).0 };
    let app = routes::router(Rules::new(&format!("http://{listen}"))?, chat);
    Ok(axum::serve(TcpListener::bind(listen).await?, app).await?)
}
