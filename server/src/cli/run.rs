//! `dev` and `serve`.

use std::{future::Future, net::SocketAddr, sync::Arc};

use clap::Args;
use serde_json::json;
use symbolon_core::secret::SecretText;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Arguments, Exit,
    admin::{SOCKET, start},
    out,
};
use crate::{
    app::App,
    config::{Config, Flag, Listen},
    http, jobs,
    listen::{Bounds, Certificates, Front, Listener, LocalListener, Proxies, Stop},
    ops, telemetry,
};

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Where everything is kept
    #[arg(long, value_name = "FOLDER", default_value = "symbolon-data")]
    data_dir: std::path::PathBuf,
    /// The port; the demo shop takes the one after it
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Do not start the demo shop
    #[arg(long)]
    no_demo: bool,
    /// Log what happens, as `log.level` says
    #[arg(long)]
    verbose: bool,
}

/// Runs a future to its end.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let failed = |error: std::io::Error| {
        Exit::new(1, "runtime", error.to_string(), "raise the limit of threads")
    };
    runtime.map_err(failed)?.block_on(future)
}

/// `symbolon serve`
pub(super) fn serve(arguments: &Arguments) -> Result<(), Exit> {
    let loaded = arguments.load(Vec::new(), false)?;
    Exit::unless_safe(&loaded)?;
    out::warn(&loaded.warnings());
    let config = loaded.config;
    prepare(&config)?;
    block_on(async {
        let stop = on_signal()?;
        let listener = bind(config.listen.address).await?;
        let app = App::open(config).await.map_err(|error| start(&error))?;
        let (address, url) = (app.config.listen.address, app.config.public_url.issuer());
        tracing::info!(%address, url, "listening");
        run(app, listener, stop).await
    })
}

/// Logs, and the data folder.
fn prepare(config: &Config) -> Result<(), Exit> {
    use std::os::unix::fs::DirBuilderExt;
    telemetry::init_logs(&config.log).map_err(|error| {
        Exit::new(1, "log", error.to_string(), "see log.level in `symbolon config reference`")
    })?;
    let folder = &config.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        let cause = format!("{}: {error}", folder.display());
        Exit::new(1, "data_folder", cause, "choose another folder with data_dir")
    })
}

fn on_signal() -> Result<Stop, Exit> {
    Stop::on_signal().map_err(|error| Exit::new(1, "signals", error.to_string(), ""))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Exit> {
    TcpListener::bind(address).await.map_err(|error| {
        let fix = "choose another address, or stop what listens there";
        Exit::new(1, "address_taken", format!("{address}: {error}"), fix)
    })
}

/// Answers the command line on the local socket.
pub(super) fn serve_local(app: &Arc<App>, stop: Stop) -> Result<JoinHandle<bool>, Exit> {
    let failed = |error: std::io::Error| {
        Exit::new(1, "local_socket", error.to_string(), "choose a shorter data_dir")
    };
    let listener = LocalListener::bind(&app.config.data_dir.join(SOCKET)).map_err(failed)?;
    let front = Front::new(
        http::local::router(Arc::clone(app)),
        Proxies::new(Vec::new(), app.config.listen.forwarded),
        Bounds::from(&app.config.listen),
    );
    Ok(tokio::spawn(async move { front.serve(Listener::Local(listener), stop).await }))
}

/// Serves until the stop, or until the store breaks.
async fn run(app: Arc<App>, listener: TcpListener, stop: Stop) -> Result<(), Exit> {
    let listen = &app.config.listen;
    let certificates = certificates(listen)?;
    let metrics = telemetry::Metrics::install()
        .map_err(|error| Exit::new(1, "metrics", error.to_string(), ""))?;
    let router = http::router(Arc::clone(&app), Some(metrics))
        .map_err(|error| Exit::new(1, "public_url", error.to_string(), "mend public_url"))?
        .layer(axum::middleware::from_fn(telemetry::observe));
    let proxies = Proxies::new(listen.trusted_proxies.clone(), listen.forwarded);
    let front = Front::new(router, proxies, Bounds::from(listen));
    let jobs = tokio::spawn(jobs::run(Arc::clone(&app)));
    if let Some(certificates) = &certificates {
        let (certificates, stop) = (Arc::clone(certificates), stop.clone());
        tokio::spawn(async move { certificates.watch(stop).await });
    }
    let local = serve_local(&app, stop.clone())?;
    let served = tokio::select! {
        _ = front.serve(Listener::Tcp(listener, certificates), stop) => Ok(()),
        error = app.store.broken() => {
            tracing::error!(%error, "the store is damaged; the server stops so that nothing is half written");
            let fix = "check the disk; restore a backup if the file is damaged";
            Err(Exit::new(1, "store_broken", error.to_string(), fix))
        }
    };
    jobs.abort();
    local.abort();
    jobs::write_seen(&app).await;
    served
}

fn certificates(listen: &Listen) -> Result<Option<Arc<Certificates>>, Exit> {
    let (Some(certificate), Some(key)) = (&listen.tls_certificate_file, &listen.tls_key_file)
    else {
        return Ok(None);
    };
    let opened = Certificates::open(certificate, key);
    opened.map(Some).map_err(|error| {
        let fix =
            "give PEM files: the chain with the server's certificate first, and its private key";
        Exit::new(1, "tls", error.to_string(), fix)
    })
}

/// `symbolon dev`
pub(super) fn dev(arguments: &Arguments, dev: &Dev) -> Result<(), Exit> {
    let flag = |name, key: &str, value: String| Flag { name, key: key.to_owned(), value };
    let mut flags = vec![
        flag("--data-dir", "data_dir", dev.data_dir.display().to_string()),
        flag("--port", "listen.address", format!("127.0.0.1:{}", dev.port)),
    ];
    if !dev.verbose {
        flags.push(flag("--verbose", "log.level", "warn".to_owned()));
    }
    let mut config = arguments.load(flags, true)?.config;
    let address = config.listen.address;
    if !address.ip().is_loopback() {
        let fix = "use `symbolon serve` for anything that others can reach";
        let cause = format!("dev listens on loopback only, not on {address}");
        return Err(Exit::new(1, "dev_is_local", cause, fix));
    }
    prepare(&config)?;
    let url = config.public_url.issuer().to_owned();
    let shop_port = address.port().saturating_add(1);
    let shop =
        (!dev.no_demo && cfg!(feature = "demo")).then(|| format!("http://localhost:{shop_port}"));
    let secret = symbolon_core::client::new_secret(&mut crate::app::Os);
    if let Some(shop) = &shop {
        config.clients.extend(demo::clients(shop, &secret)?);
    }
    block_on(async {
        let stop = on_signal()?;
        let listener = bind(address).await?;
        let app = App::open(config).await.map_err(|error| start(&error))?;
        if let Some(shop) = &shop {
            demo::start(&url, shop, secret, shop_port).await?;
        }
        let served = tokio::spawn(run(Arc::clone(&app), listener, stop));
        let users = seed(&app).await?;
        announce(arguments, &url, shop.as_deref(), &users);
        served.await.map_err(|error| Exit::new(1, "stopped", error.to_string(), ""))?
    })
}

/// The users of the demo. Their passwords follow from the master key: they are the same at every start and rest nowhere.
async fn seed(app: &Arc<App>) -> Result<Vec<(&'static str, SecretText)>, Exit> {
    let failed = |error: &dyn std::fmt::Display| {
        Exit::new(1, "seed", error.to_string(), "remove the data folder and start again")
    };
    let mut users = Vec::new();
    for (name, role) in [("admin", Some("admin")), ("user", None)] {
        let password = app.demo_password(name).map_err(|error| failed(&error))?;
        let roles = role.into_iter().filter_map(|role| role.parse().ok()).collect();
        match ops::users::add(app, name, &password, roles, crate::app::now()).await {
            Ok(_) | Err(ops::users::Refused::Taken) => users.push((name, password)),
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(users)
}

fn announce(arguments: &Arguments, url: &str, shop: Option<&str>, users: &[(&str, SecretText)]) {
    if arguments.json {
        let users: Vec<_> = users
            .iter()
            .map(|(name, password)| json!({ "username": name, "password": password.expose() }))
            .collect();
        out::value(&json!({ "url": url, "users": users, "shop": shop }), true);
        return;
    }
    let mut text = format!(
        "\n  Symbolon is running. Everything is in the data folder; Ctrl-C stops it.\n\n  Log in   {url}/login\n"
    );
    for (name, password) in users {
        text.push_str(&format!("           {name:<6} {}\n", password.expose()));
    }
    if let Some(shop) = shop {
        text.push_str(&format!("  Shop     {shop}\n"));
    }
    text.push_str(&format!(
        "  API      {url}/api/v1/openapi.json\n  Keys     {url}/.well-known/jwks.json\n\n"
    ));
    out::text(&text);
}

#[cfg(feature = "demo")]
mod demo {
    use serde_json::json;
    use symbolon_core::{
        client::{Client, SecretDigest},
        secret::SecretText,
    };

    use super::Exit;

    /// The shop's server side, and its JSON client.
    pub(super) fn clients(url: &str, secret: &SecretText) -> Result<[Client; 2], Exit> {
        let client = |id: &str, kind: &str| {
            let client = json!({
                "id": id, "kind": kind, "first_party": true, "audiences": [url], "origins": [url], "declared": true,
            });
            serde_json::from_value::<Client>(client)
                .map_err(|error| Exit::new(1, "demo", error.to_string(), "start with --no-demo"))
        };
        let shop =
            Client { secret: Some(SecretDigest::of(secret)), ..client("shop", "confidential")? };
        Ok([shop, client("shop-app", "public")?])
    }

    /// Starts the shop.
    pub(super) async fn start(
        symbolon: &str,
        url: &str,
        secret: SecretText,
        port: u16,
    ) -> Result<(), Exit> {
        let listener = super::bind(([127, 0, 0, 1], port).into()).await?;
        let settings = symbolon_shop::Settings {
            public_url: url.to_owned(),
            symbolon_url: symbolon.to_owned(),
            client_id: "shop".to_owned(),
            client_secret: secret,
        };
        tokio::spawn(async move {
            if let Err(error) =
                symbolon_shop::serve(listener, settings, std::future::pending()).await
            {
                tracing::error!(%error, "the demo shop stopped");
            }
        });
        Ok(())
    }
}
