//! `forward-auth`.

use symbolon_guard::{
    follow::{self, Following, Task},
    remote,
};

use super::{
    Arguments, Exit,
    run::{bind, block_on, observe},
};
use crate::{
    config::{Forwarded, forward::ForwardConfig},
    forward::{self, connect::Connector},
    listen::{Front, Listener, Proxies, Stop},
    telemetry::Observe,
};

/// `symbolon forward-auth`
pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.read_forward_config()?;
    let metrics = observe(&config.log)?;
    for warning in config.warnings() {
        tracing::warn!(code = warning.code, fix = warning.fix, "{warning}");
    }
    block_on(async {
        let stop = Stop::on_signal();
        let stop = stop.map_err(|error| Exit::new(1, "signals", error.to_string(), ""))?;
        let (address, bounds) = (config.listen.address, (&config.listen).into());
        let connector = Connector::to(&config.server.url, config.server.ca_file.as_deref());
        let connector = connector.map_err(|error| server(error.to_string()))?;
        let (following, task) = following(&config, connector.clone())?;
        let standing = following.clone();
        let dial = move |dial: Option<_>| match dial {
            Some(dial) => following.dial(dial),
            None => following.clone(),
        };
        let router =
            forward::router(config, dial, connector, Box::new(move || Some(standing.status())));
        let router = router.map_err(server)?;
        let listener = bind(address).await?;
        // Whom a request comes from says the socket alone: the proxy itself is looked at, not who is behind it.
        let proxies = Proxies::new(Vec::new(), Forwarded::XForwarded);
        let front = Front::new(router.layer(Observe(Some(metrics.clone()))), proxies, bounds);
        let behind = [tokio::spawn(task), tokio::spawn(metrics.keep_small())];
        tracing::info!(%address, "answering checks");
        front.serve(Listener::Tcp(listener, None), stop).await;
        for task in behind {
            task.abort();
        }
        Ok(())
    })
}

fn server(cause: String) -> Exit {
    Exit::new(2, "server", cause, "mend server.url")
}

/// Decides here, and follows the server's revocation log.
fn following(config: &ForwardConfig, connector: Connector) -> Result<(Following, Task), Exit> {
    let own = &config.server;
    let settings = remote::Settings {
        audience: own.audience.clone(),
        deadline: own.deadline,
        in_flight_max: own.in_flight_max,
        trust_network: own.trust_network,
        ..remote::Settings::new(&own.url, own.client_id.clone(), config.secret.clone())
    };
    let issuer = Some(config.issuer.issuer().to_owned());
    let settings = follow::Settings { issuer, ..settings.into() };
    let (following, task) =
        Following::over(settings, connector).map_err(|error| server(error.to_string()))?;
    Ok((following.dial(own.dial).without_lease(own.without_lease), task))
}
