//! Claims that the configuration adds to what applications are told.

use std::collections::BTreeSet;

use symbolon_core::mapped::{CLAIMS_MAX, InvalidClaim, MappedClaim, Source};

use super::{reader::Reader, sections::ClaimSection};

/// Reads all of them.
pub(super) fn read(reader: &mut Reader<'_>, names: &BTreeSet<String>) -> Option<Vec<MappedClaim>> {
    if names.len() > CLAIMS_MAX {
        let cause = format!("{} claims are more than {CLAIMS_MAX}", names.len());
        reader.refuse(&["claim"], cause, "Add fewer: every one makes tokens longer.");
        return None;
    }
    // Everything is read before anything is given up, so that all errors are told.
    let all: Vec<_> = names.iter().map(|name| claim(reader, name)).collect();
    all.into_iter().collect()
}

fn claim(reader: &mut Reader<'_>, name: &str) -> Option<MappedClaim> {
    let at = ["claim", name];
    let settings = ClaimSection::read(reader, &at)?;
    let source = match (settings.from, settings.value) {
        (Some(from), None) if from == "roles" => Source::Roles,
        (Some(from), None) => Source::Profile(from.into()),
        (None, Some(value)) => Source::Constant(value.into()),
        (Some(_), Some(_)) | (None, None) => {
            let cause = "it says nothing, or two things";
            reader.refuse(&at, cause, "Give either `from` or `value`.");
            return None;
        }
    };
    let claim = MappedClaim {
        name: name.into(),
        source,
        places: settings.places,
        scope: settings.scope,
        clients: settings.clients,
    };
    if let Err(why) = claim.check() {
        let (setting, fix) = match why {
            InvalidClaim::Source => ("from", "Name one of the standard claims, or `roles`."),
            InvalidClaim::Value => ("value", "Shorten it."),
            InvalidClaim::Roles => ("places", "Leave `access_token` away."),
            InvalidClaim::Name | InvalidClaim::Protocol | InvalidClaim::Standard => {
                ("", "Name the claim otherwise.")
            }
        };
        let place: Vec<&str> =
            at.into_iter().chain([setting]).filter(|part| !part.is_empty()).collect();
        reader.refuse(&place, why.to_string(), fix);
        return None;
    }
    Some(claim)
}
