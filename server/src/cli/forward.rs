//! `forward-auth`.

use symbolon_guard::remote::{Remote, Settings};

use super::{
    Arguments, Exit,
    run::{bind, block_on, observe},
};
use crate::{
    config::{Forwarded, forward::ForwardConfig},
    forward,
    listen::{Front, Listener, Proxies, Stop},
    telemetry,
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
        let authority = authority(&config)?;
        let router = forward::router(config, &authority, Box::new(|| Ok(()))).map_err(server)?;
        let listener = bind(address).await?;
        // Whom a request comes from says the socket alone: the proxy itself is looked at, not who is behind it.
        let proxies = Proxies::new(Vec::new(), Forwarded::XForwarded);
        let front = Front::new(telemetry::observe(router, Some(metrics.clone())), proxies, bounds);
        let upkeep = tokio::spawn(metrics.keep_small());
        tracing::info!(%address, "answering checks");
        front.serve(Listener::Tcp(listener, None), stop).await;
        upkeep.abort();
        Ok(())
    })
}

fn server(cause: String) -> Exit {
    Exit::new(2, "server", cause, "mend server.url")
}

/// Asks the server about every request.
fn authority(config: &ForwardConfig) -> Result<Remote, Exit> {
    let own = &config.server;
    let settings = Settings {
        audience: own.audience.clone(),
        deadline: own.deadline,
        in_flight_max: own.in_flight_max,
        trust_network: own.trust_network,
        ..Settings::new(&own.url, own.client_id.clone(), config.secret.clone())
    };
    Remote::new(settings).map_err(|error| server(error.to_string()))
}
