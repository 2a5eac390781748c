//! From single values to a configuration: what depends on several of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use symbolon_core::{
    client::{About, Client, ClientId, ClientKind, Fault, SecretDigest},
    oauth::grant::GrantType,
    subject::SubjectType,
};

use super::{
    Config, ConfigError, DatabaseUrl, Limits, Listen, Log, Origin, PasswordSettings, PublicUrl,
    ReadFile, SecretSha256, StoreSettings, Timings, claims,
    reader::{Layers, Reader, written},
    secret_from,
    sections::{
        About as AboutSection, Brand as BrandSection, Client as ClientSection, Keys, Outbound,
        Password, Register, RegisterClient, Revocation, ScopeWords, StoreSection, Top,
    },
};
use crate::{
    password::{Bounds, Cost},
    ui::{Brand, Colour},
};

/// The shortest secret of a client: 128 bits in hexadecimal.
const SECRET_BYTES_MIN: usize = 32;

/// Makes the configuration.
pub(super) fn build(layers: &mut Layers, read: ReadFile<'_>) -> Result<Config, Vec<ConfigError>> {
    let names = layers
        .names("client", "Declare fewer here, and make the others with `symbolon client add`.");
    let scopes = layers.names("scope", "Describe fewer.");
    let claims = layers.names("claim", "Add fewer.");
    let mut reader = layers.reader();
    let names = names.iter().map(String::as_str);
    let scopes = scopes.iter().map(String::as_str);
    let config = config(&mut reader, (names, scopes, &claims), read);
    let Reader { errors, shown, .. } = reader;
    match config {
        Some(config) if errors.is_empty() => Ok(Config { shown, ..config }),
        _ => Err(errors),
    }
}

fn config<'n>(
    reader: &mut Reader<'_>,
    (names, scopes, claims): (
        impl Iterator<Item = &'n str>,
        impl Iterator<Item = &'n str>,
        &BTreeSet<String>,
    ),
    read: ReadFile<'_>,
) -> Option<Config> {
    // Everything is read before anything is given up, so that all errors are told.
    let top = Top::read(reader, &[]);
    let listen = listen(reader);
    let lifetimes = lifetimes(reader);
    let password = password(reader);
    let limits = Limits::read(reader, &["limits"]);
    let revocation = Revocation::read(reader, &["revocation"]);
    let store = store(reader, read);
    let outbound = Outbound::read(reader, &["outbound"]);
    let registration = Register::read(reader, &["registration"]);
    let client_registration = RegisterClient::read(reader, &["client_registration"]);
    let (settings, brand) = brand(reader, &["brand"], None, read).unzip();
    let public_url = top
        .as_ref()
        .zip(listen.as_ref())
        .and_then(|(top, listen)| top.public_url.clone().or_else(|| assumed_url(reader, listen)));
    if let (Some(settings), Some(url)) = (&client_registration, &public_url)
        && settings.audiences.iter().any(|audience| audience == url.issuer())
    {
        let cause = "a token for the server itself does what its user can do here";
        reader.refuse(&["client_registration", "audiences"], cause, "Name your APIs alone.");
    }
    let mut clients = Vec::new();
    let mut client_brands = BTreeMap::new();
    for name in names {
        let client = client(reader, name, read, public_url.as_ref());
        let own = brand_of_client(reader, name, settings.as_ref(), read);
        if let Some((client, own)) = client.zip(own) {
            client_brands.extend(own.map(|brand| (client.id.clone(), brand)));
            clients.push(client);
        }
    }
    let scopes: BTreeMap<_, _> = scopes
        .filter_map(|name| Some((name.to_owned(), ScopeWords::read(reader, &["scope", name])?)))
        .collect();
    let claims = claims::read(reader, claims);
    let log = Log::read(reader, &["log"]);
    let keys = Keys::read(reader, &["keys"]);
    let (top, public_url) = (top?, public_url?);
    match clients.iter().find(|client| client.id == top.default_client) {
        Some(client) => check_default_client(reader, client),
        None => clients.push(default_client(top.default_client.clone(), &public_url)),
    }
    let master_key_file = keys?.master_key_file;
    Some(Config {
        master_key_file: master_key_file.unwrap_or_else(|| top.data_dir.join("master.key")),
        public_url,
        data_dir: top.data_dir,
        default_client: top.default_client,
        default_locale: top.default_locale,
        listen: listen?,
        lifetimes: lifetimes?,
        password: password?,
        limits: limits?,
        revocation: revocation?,
        store: store?,
        outbound: outbound?,
        registration: registration?.mode,
        client_registration: client_registration?,
        brand: brand?,
        client_brands,
        clients,
        scopes,
        claims: claims?,
        log: log?,
        shown: Vec::new(),
        asked: None,
    })
}

fn store(reader: &mut Reader<'_>, read: ReadFile<'_>) -> Option<StoreSettings> {
    let StoreSection { url, url_file, connections_max, timeout, fenced } =
        StoreSection::read(reader, &["store"])?;
    let at = &["store", "url_file"];
    let url = match (url, url_file) {
        (Some(_), Some(_)) => {
            reader.refuse(at, "the URL is given twice", "Leave store.url or this away.");
            return None;
        }
        (url, None) => url,
        (None, Some(path)) => {
            match secret_from(read, &path).map(|url| url.expose().parse::<DatabaseUrl>()) {
                Ok(Ok(url)) => Some(url),
                Ok(Err(why)) => {
                    reader.refuse(at, why.to_string(), "Put nothing but the URL in it.");
                    return None;
                }
                Err(why) => {
                    reader.refuse(at, why.to_string(), "Name a file that this user can read.");
                    return None;
                }
            }
        }
    };
    Some(StoreSettings { url, connections_max, timeout, fenced })
}

fn listen(reader: &mut Reader<'_>) -> Option<Listen> {
    let listen = Listen::read(reader, &["listen"])?;
    let (missing, given) = match (&listen.tls_certificate_file, &listen.tls_key_file) {
        (Some(_), None) => ("tls_key_file", "tls_certificate_file"),
        (None, Some(_)) => ("tls_certificate_file", "tls_key_file"),
        _ => return Some(listen),
    };
    let error = ConfigError::new(
        "config_invalid_value",
        "TLS needs a certificate and its key",
        "Give both files, or none to speak plain http.",
    );
    let origin = reader.origin(&["listen", given]);
    reader.errors.push(error.at(written(&["listen", missing]), Some(origin)));
    None
}

/// Without a `public_url` the server is for trying out, on this machine.
fn assumed_url(reader: &mut Reader<'_>, listen: &Listen) -> Option<PublicUrl> {
    let port = listen.address.port();
    let scheme = if listen.tls_key_file.is_some() { "https" } else { "http" };
    let default_port = if scheme == "https" { 443 } else { 80 };
    let url = if port == default_port {
        format!("{scheme}://localhost")
    } else {
        format!("{scheme}://localhost:{port}")
    };
    if listen.address.ip().is_loopback() && port != 0 {
        return url.parse().ok();
    }
    let fix = "Write the URL that browsers use, such as https://auth.example.";
    reader.errors.push(
        ConfigError::new("config_missing", "browsers need to know where the server is", fix)
            .at("public_url", Some(Origin::Default)),
    );
    None
}

fn lifetimes(reader: &mut Reader<'_>) -> Option<Timings> {
    let timings = Timings::read(reader, &["lifetimes"])?;
    let mut ordered = true;
    let mut order = |(short, span): (&str, Duration), (long, limit): (&str, Duration)| {
        if span <= limit {
            return;
        }
        ordered = false;
        // A default is not to blame.
        if reader.origin(&["lifetimes", short]) == Origin::Default {
            let cause = format!("it is shorter than {short}");
            reader.refuse(&["lifetimes", long], cause, format!("Lengthen it, or shorten {short}."));
        } else {
            let cause = format!("it is longer than {long}");
            reader.refuse(&["lifetimes", short], cause, format!("Shorten it, or lengthen {long}."));
        }
    };
    let absolute = ("session_absolute", timings.session_absolute);
    let remembered = ("remembered_absolute", timings.remembered_absolute);
    order(("session_idle", timings.session_idle), absolute);
    order(("remembered_idle", timings.remembered_idle), remembered);
    order(("key_publish_ahead", timings.key_publish_ahead), ("key_active", timings.key_active));
    ordered.then_some(timings)
}

fn password(reader: &mut Reader<'_>) -> Option<PasswordSettings> {
    let password = Password::read(reader, &["password"])?;
    let cost = Cost::new(password.memory_kib, password.iterations, password.parallelism);
    if let Err(why) = cost {
        let fix = "Give each lane at least 8 KiB, or use fewer lanes.";
        reader.refuse(&["password", "memory_kib"], why.to_string(), fix);
    }
    let threads = password.hashes_in_flight_max.unwrap_or(Bounds::default().threads);
    let queue_max = password.queue_max.unwrap_or(threads.saturating_mul(64));
    Some(PasswordSettings {
        cost: cost.ok()?,
        hashes_in_flight_max: threads,
        queue_max,
        length_min: password.length_min,
    })
}

fn brand(
    reader: &mut Reader<'_>,
    at: &[&str],
    above: Option<&BrandSection>,
    read: ReadFile<'_>,
) -> Option<(BrandSection, Brand)> {
    let own = BrandSection::read(reader, at)?;
    let settings = BrandSection {
        name: own.name.or_else(|| above?.name.clone()),
        logo_file: own.logo_file.or_else(|| above?.logo_file.clone()),
        accent: own.accent.or_else(|| above?.accent),
        links: own.links.or_else(|| above?.links.clone()),
    };
    let logo = match settings.logo_file.as_deref().map(read) {
        None => None,
        Some(Ok(logo)) => Some(logo),
        Some(Err(error)) => {
            let cause = format!("the file cannot be read: {error}");
            reader.refuse(&join(at, "logo_file"), cause, "Give the path of an SVG file.");
            return None;
        }
    };
    let name = settings.name.as_deref().unwrap_or("Symbolon");
    let accent = settings.accent.unwrap_or(Colour::VERDIGRIS);
    match Brand::new(name, logo, accent, settings.links.clone().unwrap_or_default()) {
        Ok(brand) => Some((settings, brand)),
        Err(why) => {
            reader.refuse(at, why.to_string(), "Change that part of the brand.");
            None
        }
    }
}

/// The brand of a client, if it says anything about one.
fn brand_of_client(
    reader: &mut Reader<'_>,
    name: &str,
    above: Option<&BrandSection>,
    read: ReadFile<'_>,
) -> Option<Option<Brand>> {
    let at = ["client", name, "brand"];
    let settings = BrandSection::SETTINGS;
    let says =
        |setting: &super::Setting| reader.origin(&join(&at, setting.name)) != Origin::Default;
    if !settings.iter().any(says) {
        return Some(None);
    }
    brand(reader, &at, above, read).map(|(_, brand)| Some(brand))
}

fn join<'a>(at: &[&'a str], name: &'a str) -> Vec<&'a str> {
    at.iter().copied().chain([name]).collect()
}

fn client(
    reader: &mut Reader<'_>,
    name: &str,
    read: ReadFile<'_>,
    public_url: Option<&PublicUrl>,
) -> Option<Client> {
    let at = ["client", name];
    let settings = ClientSection::read(reader, &at);
    let about = about(reader, name);
    let id = name.parse::<ClientId>();
    if let Err(why) = &id {
        reader.refuse(&at, why.to_string(), "Name the table otherwise.");
    }
    let settings = settings?;
    let audiences = match public_url {
        // A token for the server itself does what its user can do here: none for others' applications.
        Some(url)
            if settings.audiences.is_empty()
                && settings.subject_type == SubjectType::Public
                && (settings.first_party || !logs_people_in(&settings)) =>
        {
            vec![url.issuer().to_owned()]
        }
        _ => settings.audiences,
    };
    let about = about?;
    let client = Client {
        name: settings.name,
        first_party: settings.first_party,
        audiences,
        exchange_audiences: settings.exchange_audiences,
        origins: settings.origins,
        redirect_uris: settings.redirect_uris,
        post_logout_redirect_uris: settings.post_logout_redirect_uris,
        backchannel_logout_uri: settings.backchannel_logout_uri,
        backchannel_logout_session_required: settings.backchannel_logout_session_required,
        frontchannel_logout_uri: settings.frontchannel_logout_uri,
        frontchannel_logout_session_required: settings.frontchannel_logout_session_required,
        application_type: settings.application_type,
        pkce_required: settings.pkce_required,
        require_pushed_authorization_requests: settings.require_pushed_authorization_requests,
        default_max_age: settings.default_max_age,
        require_auth_time: settings.require_auth_time,
        request_object_signing_alg: settings.request_object_signing_alg,
        scopes: settings.scopes,
        grant_types: settings.grant_types,
        algorithm: settings.algorithm,
        id_token_algorithm: settings.id_token_algorithm,
        userinfo_algorithm: settings.userinfo_algorithm,
        token_type: settings.token_type,
        access_token_format: settings.access_token_format,
        subject_type: settings.subject_type,
        sector_identifier_uri: settings.sector_identifier_uri,
        token_endpoint_auth_method: settings.token_endpoint_auth_method,
        token_endpoint_auth_signing_alg: settings.token_endpoint_auth_signing_alg,
        jwks: settings.jwks,
        jwks_uri: settings.jwks_uri,
        token_endpoint_audience: settings.token_endpoint_audience,
        dpop_bound_access_tokens: settings.dpop_bound_access_tokens,
        browser: settings.browser,
        about,
        declared: true,
        ..Client::new(id.ok()?, settings.kind)
    };
    if let Err(faults) = client.check(public_url.map(PublicUrl::issuer)) {
        for Fault { field, why } in faults {
            let key: Vec<&str> = at.iter().copied().chain(field.split('.')).collect();
            reader.refuse(&key, why, "`symbolon config reference` says what can stand there.");
        }
        return None;
    }
    let secret =
        secret(reader, &at, &client, (settings.secret_sha256, settings.secret_file), read)?;
    Some(Client { secret, ..client })
}

/// In a browser that comes back, or on a device.
fn logs_people_in(settings: &ClientSection) -> bool {
    !settings.redirect_uris.is_empty() || settings.grant_types.contains(&GrantType::DeviceCode)
}

/// What a client says of itself.
fn about(reader: &mut Reader<'_>, name: &str) -> Option<About> {
    let section = AboutSection::read(reader, &["client", name, "about"])?;
    Some(About {
        names: section.names,
        client_uri: section.client_uri,
        logo_uri: section.logo_uri,
        policy_uri: section.policy_uri,
        tos_uri: section.tos_uri,
        initiate_login_uri: section.initiate_login_uri,
        contacts: section.contacts,
        software_id: section.software_id,
        software_version: section.software_version,
    })
}

/// The digest of the secret of a client that has one, and nothing for all others.
fn secret(
    reader: &mut Reader<'_>,
    at: &[&str],
    client: &Client,
    given: (Option<SecretSha256>, Option<PathBuf>),
    read: ReadFile<'_>,
) -> Option<Option<SecretDigest>> {
    let (name, cause, fix) = match (given, client.keeps_secret()) {
        ((None, None), false) => return Some(None),
        ((Some(digest), None), true) => return Some(Some(digest.0)),
        ((None, Some(path)), true) => return secret_in(reader, at, &path, read).map(Some),
        ((None, None), true) => {
            let error = ConfigError::new(
                "config_missing",
                "a client of this kind needs a secret",
                "Give secret_sha256, secret_file, jwks or jwks_uri, or make it a public client.",
            );
            let key = written(&join(at, "secret_sha256"));
            reader.errors.push(error.at(key, Some(reader.origin(at))));
            return None;
        }
        ((Some(_), Some(_)), true) => {
            ("secret_file", "the secret is given twice", "Leave secret_sha256 or this away.")
        }
        ((_, file), false) => {
            let name = if file.is_some() { "secret_file" } else { "secret_sha256" };
            let cause = if client.kind == ClientKind::Public {
                "a public client keeps no secret"
            } else {
                "a client that proves itself with a key has no secret"
            };
            (name, cause, "Leave it away, or choose another kind.")
        }
    };
    reader.refuse(&join(at, name), cause, fix);
    None
}

fn secret_in(
    reader: &mut Reader<'_>,
    at: &[&str],
    path: &Path,
    read: ReadFile<'_>,
) -> Option<SecretDigest> {
    let cause = match secret_from(read, path) {
        Ok(secret) if secret.expose().len() >= SECRET_BYTES_MIN => {
            return Some(SecretDigest::of(&secret));
        }
        Ok(_) => format!("the secret in it has fewer than {SECRET_BYTES_MIN} characters"),
        Err(error) => format!("the file cannot be read: {error}"),
    };
    let fix = "Put 32 random bytes in it, in hexadecimal or base64url.";
    reader.refuse(&join(at, "secret_file"), cause, fix);
    None
}

/// Who names no client shows no secret, and the login page takes passwords for this client.
fn check_default_client(reader: &mut Reader<'_>, client: &Client) {
    if client.kind != ClientKind::Public || !client.first_party {
        let at = ["client", client.id.as_str()];
        let cause = "requests that name no client mean this one, so nobody could log in";
        let fix =
            "Give it kind = \"public\" and first_party = true, or name another default_client.";
        reader.refuse(&at, cause, fix);
    }
}

/// The client that needs no declaration: what has no `client_id` of its own speaks as it.
fn default_client(id: ClientId, public_url: &PublicUrl) -> Client {
    Client {
        first_party: true,
        audiences: vec![public_url.issuer().to_owned()],
        declared: true,
        ..Client::new(id, ClientKind::Public)
    }
}
