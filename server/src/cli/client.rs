//! Verbs that act on clients.

use std::path::PathBuf;

use axum::http::Method;
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use symbolon_core::client::{Client, Fault};

use super::{
    Exit,
    admin::{Call, Confirming, part},
};

/// What kind of application a client is.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// It cannot keep a secret: a SPA, a mobile app
    Public,
    /// It keeps a secret: a web application's server side
    Confidential,
    /// It only checks tokens and keeps session data: an API
    Resource,
}

/// A client to add. Its members are those of the client that will be stored.
#[derive(Debug, Args, Serialize)]
pub(super) struct NewClient {
    /// The client id
    id: String,
    /// What kind of application it is
    #[arg(long, value_enum)]
    kind: Kind,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// It is ours: it may take passwords
    #[arg(long)]
    first_party: bool,
    /// web, or native: an app on a device, which is sent back to a loopback address on any port
    #[arg(long, default_value = "web")]
    application_type: String,
    /// An audience of its tokens (repeat for more; the first is the default)
    #[arg(long = "audience")]
    audiences: Vec<String>,
    /// A name of its own as a resource server, whose tokens it may exchange (repeat for more)
    #[arg(long = "exchange-audience")]
    exchange_audiences: Vec<String>,
    /// An exact origin of its pages (repeat for more)
    #[arg(long = "origin")]
    origins: Vec<String>,
    /// An exact redirect URI (repeat for more)
    #[arg(long = "redirect-uri")]
    redirect_uris: Vec<String>,
    /// An exact URI that a browser may be sent to after a logout (repeat for more)
    #[arg(long = "post-logout-redirect-uri")]
    post_logout_redirect_uris: Vec<String>,
    /// Where its server side hears that a session is over
    #[arg(long)]
    backchannel_logout_uri: Option<String>,
    /// It needs `sid` in logout tokens, which always have it
    #[arg(long)]
    backchannel_logout_session_required: bool,
    /// What browsers load in a hidden frame when they log out
    #[arg(long)]
    frontchannel_logout_uri: Option<String>,
    /// It needs `iss` and `sid` with it, which are always sent
    #[arg(long)]
    frontchannel_logout_session_required: bool,
    /// Whether its authorization requests need a code challenge; those of a public client always do
    #[arg(long, action = ArgAction::Set, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pkce_required: bool,
    /// Its authorization requests count only when it has pushed them
    #[arg(long = "require-par")]
    require_pushed_authorization_requests: bool,
    /// How old its users' logins may be, in seconds, where a request does not say
    #[arg(long)]
    default_max_age: Option<u32>,
    /// It needs `auth_time` in ID tokens, which always have it
    #[arg(long)]
    require_auth_time: bool,
    /// The one algorithm of the requests that it signs
    #[arg(long)]
    request_object_signing_alg: Option<String>,
    /// A scope that it may ask for, besides the standard ones (repeat for more)
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// A grant that it may use (repeat for more): authorization_code, refresh_token, client_credentials,
    /// urn:ietf:params:oauth:grant-type:token-exchange, urn:ietf:params:oauth:grant-type:device_code
    #[arg(long = "grant-type", default_values = ["authorization_code", "refresh_token"])]
    grant_types: Vec<String>,
    /// How its access tokens are signed: ES256, EdDSA or RS256
    #[arg(long, default_value = "ES256")]
    algorithm: String,
    /// How its ID tokens are signed: RS256, ES256 or EdDSA
    #[arg(long, default_value = "RS256")]
    id_token_algorithm: String,
    /// How userinfo answers are signed, if they are
    #[arg(long)]
    userinfo_algorithm: Option<String>,
    /// The `typ` of its access tokens: at+jwt or JWT
    #[arg(long, default_value = "at+jwt")]
    token_type: String,
    /// Whether whoever holds an access token can read it: jwt, or opaque
    #[arg(long, default_value = "jwt")]
    access_token_format: String,
    /// Whether other clients know a user by the same id: public, or pairwise
    #[arg(long, default_value = "public")]
    subject_type: String,
    /// For pairwise: the URL of a list of its redirect URIs, if they are of several hosts
    #[arg(long)]
    sector_identifier_uri: Option<String>,
    /// The one way in which it proves who it is: client_secret_basic, client_secret_post, private_key_jwt or none
    #[arg(long)]
    token_endpoint_auth_method: Option<String>,
    /// The one algorithm of what it signs to prove itself
    #[arg(long)]
    token_endpoint_auth_signing_alg: Option<String>,
    /// The file of the public keys that it proves itself with, instead of a secret: a JWK set
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    #[serde(skip)]
    jwks: Option<PathBuf>,
    /// Where those keys are, instead
    #[arg(long)]
    jwks_uri: Option<String>,
    /// What it signs to prove itself may name the token endpoint as its audience, too
    #[arg(long)]
    token_endpoint_audience: bool,
    /// Its access tokens must be bound to a key (DPoP)
    #[arg(long)]
    dpop_bound_access_tokens: bool,
    /// A key of its session data that a browser reaches, as KEY=read or KEY=write (repeat for more)
    #[arg(long = "browser", value_parser = super::key_value)]
    #[serde(serialize_with = "as_map")]
    browser: Vec<(String, String)>,
    #[command(flatten)]
    about: NewAbout,
}

/// What a client says of itself, for people.
#[derive(Debug, Args, Serialize)]
struct NewAbout {
    /// What people call it who read a language, as LANGUAGE=NAME (repeat for more)
    #[arg(long = "name-in", value_parser = super::key_value)]
    #[serde(serialize_with = "as_map")]
    names: Vec<(String, String)>,
    /// Its home page
    #[arg(long)]
    client_uri: Option<String>,
    /// Its logo, which is shown nowhere
    #[arg(long)]
    logo_uri: Option<String>,
    /// How it deals with personal data: a link where people allow it something
    #[arg(long)]
    policy_uri: Option<String>,
    /// Its terms: a link at the same place
    #[arg(long)]
    tos_uri: Option<String>,
    /// Where a login can begin that others want
    #[arg(long)]
    initiate_login_uri: Option<String>,
    /// Who is responsible for it (repeat for more)
    #[arg(long = "contact")]
    contacts: Vec<String>,
    /// What software it is
    #[arg(long)]
    software_id: Option<String>,
    /// Which version of it
    #[arg(long)]
    software_version: Option<String>,
}

fn as_map<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Add a client; its secret is printed once
    Add(Box<NewClient>),
    /// Make a token with which a client registers itself; it is printed once
    Invite {
        /// How many clients may use it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it counts, such as 1h
        #[arg(long, default_value = "1d")]
        life: String,
    },
    /// List clients; DRIFT says where the configuration is another by now than the server has applied
    List,
    /// Show a client
    Show {
        /// The client id
        id: String,
    },
    /// Make a new secret; the old one is void at once
    RotateSecret {
        /// The client id
        id: String,
    },
    /// Remove a client; its sessions and tokens are refused from now on
    Remove {
        /// The client id
        id: String,
        #[command(flatten)]
        confirm: Confirming,
    },
}

const COLUMNS: [&str; 8] =
    ["id", "name", "kind", "first_party", "audiences", "declared", "registered", "drift"];

impl ClientCommand {
    pub(super) fn call(&self) -> Result<Call, Exit> {
        let of = |id: &str, rest: &str| format!("/clients/{}{rest}", part(id));
        Ok(match self {
            Self::Add(new) => Call::new(Method::POST, "/clients", Some(checked(new)?)),
            Self::Invite { uses, life } => {
                let body = json!({ "uses": uses, "life": life });
                Call::new(Method::POST, "/client-invitations", Some(body))
            }
            Self::List => Call::list("/clients", &COLUMNS),
            Self::Show { id } => Call::new(Method::GET, of(id, ""), None),
            Self::RotateSecret { id } => Call::new(Method::POST, of(id, "/secret"), None),
            Self::Remove { id, confirm } => {
                Call::new(Method::DELETE, of(id, ""), None).confirmed(confirm)
            }
        })
    }
}

/// Says here what is wrong, in the words of the type that will be stored.
fn checked(new: &NewClient) -> Result<Value, Exit> {
    let mut body = json!(new);
    if let Some(path) = &new.jwks {
        let failed = |cause: String| {
            let cause = format!("{}: {cause}", path.display());
            Exit::new(2, "invalid_client_settings", cause, "give the file of a JWK set")
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        body["jwks"] = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    }
    let members = body.as_object().cloned().unwrap_or_default();
    Client::read(&members, None).map(|_| body).map_err(|faults| {
        let fix = "see `symbolon client add --help`";
        let causes = faults.iter().map(|Fault { field, why }| format!("{field}: {why}"));
        Exit::several(2, "invalid_client_settings", causes, fix)
    })
}
