//! Confirming: waiting until what has ended is over everywhere.

use std::time::Duration;

use symbolon_core::time::Tick;

use super::Unavailable;
use crate::{
    app::{App, entry_life},
    os::{now, tick},
    store::Confirming,
};

/// How far an end has come.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Confirmed {
    /// Whether nobody accepts any more what had ended when this was asked for. If not: ask again.
    pub confirmed: bool,
    /// How many followers have acknowledged it.
    pub acknowledged: u32,
    /// How many said nothing until they could not decide alone any more.
    pub waited_out: u32,
    /// How many may still decide alone without having acknowledged. Zero once confirmed.
    pub waiting: usize,
    /// The clients whose services trust the expiry of tokens alone, as they are configured: for them nothing is
    /// confirmed before that.
    #[schema(value_type = Vec<String>)]
    pub except: Vec<Box<str>>,
    /// Why nothing is ever confirmed here. Then the end is as durable as the database keeps it, and asking again is of no
    /// use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// From the beginning of the request until now, in milliseconds.
    pub took_ms: f64,
}

/// Waits until everything that has ended so far is refused everywhere, or the deadline passes. `began` is when the
/// request did.
///
/// It does not matter who ended what: whatever the caller can have seen to be ended was published before the barrier
/// returns. So confirming once more what had ended already is sound, and needs no memory of where in the log it stands.
///
/// # Errors
/// [`Unavailable`].
pub async fn confirm(app: &App, began: Tick, within: Duration) -> Result<Confirmed, Unavailable> {
    if !app.config.store.fenced {
        let refused =
            "store.fenced is false: a failover of the database may lose an end that was confirmed";
        return Ok(Confirmed { refused: Some(refused), ..Confirmed::not_yet(tick().since(began)) });
    }
    let Confirming { confirmed, acknowledged, waited_out, waiting } =
        app.store.confirm(began + within).await?;
    let took = tick().since(began);
    if confirmed {
        metrics::histogram!("revocation_confirmed_seconds").record(took);
    }
    let except = app.store.trusting_expiry(entry_life(&app.config), now()).await?;
    let (took_ms, refused) = (millis(took), None);
    Ok(Confirmed { confirmed, acknowledged, waited_out, waiting, except, refused, took_ms })
}

impl Confirmed {
    fn not_yet(took: Duration) -> Self {
        Self {
            confirmed: false,
            acknowledged: 0,
            waited_out: 0,
            waiting: 0,
            except: Vec::new(),
            refused: None,
            took_ms: millis(took),
        }
    }
}

/// Milliseconds, to the microsecond.
pub fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
