//! `dev` and `serve`.

use std::{future::Future, net::SocketAddr, path::Path, sync::Arc};

use clap::Args;
use serde_json::json;
use symbolon_core::secret::SecretText;

use super::{Arguments, Exit, admin::start, out};
use crate::{
    app::App,
    config::Listen,
    http, jobs,
    listen::{self, Certificates, Front, Listener, LocalListener, Proxies, Stop},
    ops,
    telemetry::{self, Metrics, TelemetryError},
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
    let config = arguments.read_config(&[])?;
    let unsafe_settings = config.refuse_unsafe();
    if !unsafe_settings.is_empty() {
        return Err(Exit::config(&unsafe_settings));
    }
    let metrics = Some(observe(&config.log)?);
    for warning in config.warnings() {
        tracing::warn!(code = warning.code, fix = warning.fix, "{warning}");
    }
    create_folder(&config.data_dir)?;
    block_on(async {
        let app = App::open(config).await.map_err(|error| start(&error))?;
        let address = app.config.listen.address;
        let listener = bind(address).await?;
        tracing::info!(%address, url = app.config.public_url.issuer(), "listening");
        run(app, listener, metrics).await
    })
}

/// Begins to log and to count.
pub(super) fn observe(log: &crate::config::Log) -> Result<Metrics, Exit> {
    let failed = |error: TelemetryError| Exit::new(1, "telemetry", error.to_string(), "");
    telemetry::init_logs(log).map_err(failed)?;
    Metrics::install().map_err(failed)
}

pub(super) async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, Exit> {
    tokio::net::TcpListener::bind(address).await.map_err(|error| {
        let fix = "choose another address with listen.address, or stop what listens there";
        Exit::new(1, "address_taken", format!("{address}: {error}"), fix)
    })
}

fn create_folder(folder: &Path) -> Result<(), Exit> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        Exit::new(
            1,
            "data_folder",
            format!("{}: {error}", folder.display()),
            "choose another folder with data_dir",
        )
    })
}

/// Serves until a signal comes, or until the store breaks.
async fn run(
    app: Arc<App>,
    listener: tokio::net::TcpListener,
    metrics: Option<Metrics>,
) -> Result<(), Exit> {
    let invalid = |error: &dyn std::fmt::Display| {
        Exit::new(1, "public_url", error.to_string(), "mend public_url")
    };
    let router =
        http::router(Arc::clone(&app), metrics.clone()).map_err(|error| invalid(&error))?;
    let settings = &app.config.listen;
    let certificates = certificates(settings)?;
    let stop = Stop::on_signal().map_err(|error| Exit::new(1, "signals", error.to_string(), ""))?;
    let proxies = Proxies::new(settings.trusted_proxies.clone(), settings.forwarded);
    let front = Front::new(router, proxies, settings.into());
    let local = front.with(http::local::router(Arc::clone(&app)));
    let socket = app.config.data_dir.join(listen::SOCKET_NAME);
    let socket = LocalListener::bind(&socket).map_err(|error| {
        let cause = format!("{}: {error}", socket.display());
        Exit::new(1, "local_socket", cause, "choose a data_dir with a shorter path")
    })?;
    let jobs = tokio::spawn(jobs::run(Arc::clone(&app)));
    let upkeep = metrics.map(|metrics| tokio::spawn(metrics.keep_small()));
    let socket = Listener::Local(socket);
    let local = tokio::spawn({
        let stop = stop.clone();
        async move { local.serve(socket, stop).await }
    });
    let watch = certificates.clone().map(|certificates| {
        let stop = stop.clone();
        tokio::spawn(async move { certificates.watch(stop).await })
    });
    let served = tokio::select! {
        _ = front.serve(Listener::Tcp(listener, certificates), stop) => Ok(()),
        error = app.store.broken() => {
            tracing::error!(%error, "the store is damaged; the server stops so that nothing is half written");
            Err(Exit::new(1, "store_broken", error.to_string(), "check the disk; restore a backup if the file is damaged"))
        }
    };
    jobs.abort();
    local.abort();
    for task in watch.into_iter().chain(upkeep) {
        task.abort();
    }
    jobs::write_seen(&app).await;
    served
}

fn certificates(listen: &Listen) -> Result<Option<Arc<Certificates>>, Exit> {
    let files = listen.tls_certificate_file.as_deref().zip(listen.tls_key_file.as_deref());
    files.map(|(certificate, key)| Certificates::open(certificate, key)).transpose().map_err(
        |error| {
            Exit::new(
                1,
                "tls",
                error.to_string(),
                "see listen.tls_certificate_file and listen.tls_key_file",
            )
        },
    )
}

/// `symbolon dev`
pub(super) fn dev(arguments: &Arguments, dev: &Dev) -> Result<(), Exit> {
    let url = format!("http://localhost:{}", dev.port);
    let shop = (!dev.no_demo && cfg!(feature = "demo"))
        .then(|| format!("http://localhost:{}", dev.port.saturating_add(1)));
    let defaults = [
        ("data_dir", dev.data_dir.display().to_string()),
        ("public_url", url.clone()),
        ("listen.address", format!("127.0.0.1:{}", dev.port)),
        ("registration.mode", "open".to_owned()),
        ("log.level", "warn".to_owned()),
    ];
    let mut config = arguments.read_config(&defaults)?;
    let address = config.listen.address;
    if !address.ip().is_loopback() {
        let fix = "use `symbolon serve` for anything that others can reach";
        return Err(Exit::new(
            1,
            "dev_is_local",
            format!("dev listens on loopback only, not on {address}"),
            fix,
        ));
    }
    let metrics = Some(observe(&config.log)?);
    create_folder(&config.data_dir)?;
    let secret = symbolon_core::client::new_secret(&mut crate::app::Os);
    if let Some(shop) = &shop {
        config.clients.extend(demo::clients(shop, &secret)?);
        config = config.detached();
    }
    block_on(async {
        let listener = bind(address).await?;
        let app = App::open(config).await.map_err(|error| start(&error))?;
        if let Some(shop) = &shop {
            demo::start(&url, shop, secret, dev.port.saturating_add(1)).await?;
        }
        let served = tokio::spawn(run(Arc::clone(&app), listener, metrics));
        let users = seed(&app).await?;
        // Where browsers find it, which may be behind a proxy.
        announce(arguments, app.config.public_url.issuer(), shop.as_deref(), &users);
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
        out::value(&json!({ "url": url, "users": users, "shop": shop }), &[], true);
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
