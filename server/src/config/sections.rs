//! All settings there are.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use symbolon_core::{
    client::{
        AuthMethod, BrowserAccess, ClientId, ClientJwks, ClientKind, JwksUri, Language, Name,
    },
    csrf::Origin,
    keys::Algorithm,
    limit::Quota,
    logout_uri::{LogoutUri, PostLogoutUri},
    mapped::Place,
    oauth::{
        grant::GrantType,
        jwk::SignatureAlgorithm,
        uri::{ApplicationType, PageUri, RedirectUri},
    },
    scope::Scope,
    subject::{SectorUri, SubjectType},
    token::{TokenFormat, TokenType},
};

use super::{
    ClientRegistration, DatabaseUrl, Forwarded, LogFormat, LogLevel, PublicUrl, Registration,
    SecretSha256,
    reader::Reader,
    section::{Section, Setting, optional, section, table},
    value::FromValue,
};
use crate::{
    listen::Network,
    ui::{Colour, Link, Locale},
};

section! {
    /// What stands before the first table of the file.
    pub struct Top {
        /// The URL under which browsers reach the server; it may carry a path. It is the issuer of tokens, so it must
        /// never change while the service lives. `https` is a must unless the host is this machine. Without it, a
        /// server that listens on a loopback address calls itself `http://localhost` and its port, for trying out.
        public_url: Option<PublicUrl>;
        /// The folder with the database, the keys and the local socket. One server at a time uses it.
        data_dir: PathBuf = r#""./symbolon-data""#;
        /// The client that a request means which names none. Without a `[client]` table of this name it is a public
        /// first-party client whose tokens are for the server itself.
        default_client: ClientId = r#""symbolon""#;
        /// The language of pages for browsers that ask for none of ours.
        default_locale: Locale = r#""en""#;
    }

    /// Where the server listens, and whom it believes.
    pub struct Listen {
        /// The address. The default reaches this machine only; behind a proxy on this machine that is right.
        address: SocketAddr = r#""127.0.0.1:8080""#;
        /// The certificate chain, PEM. With it and `tls_key_file` the server speaks TLS. Both are read again when they
        /// change.
        tls_certificate_file: Option<PathBuf>;
        /// The private key of the certificate, PEM.
        tls_key_file: Option<PathBuf>;
        /// The proxies in front, as addresses or networks. Only from them a header that tells the caller's address is
        /// believed; from all others it is ignored.
        trusted_proxies: Vec<Network> = "[]";
        /// Which header the proxies set: `X-Forwarded-For` and `X-Forwarded-Proto`, or `Forwarded` (RFC 7239). The
        /// other is ignored, because a proxy hands on what it does not know, and anybody could have written that.
        forwarded: Forwarded = r#""x-forwarded""#;
        /// Who may read `/metrics`, as addresses or networks. All others find nothing there.
        metrics_from: Vec<Network> = r#"["127.0.0.1", "::1"]"#;
        /// Connections at a time. More wait in the kernel's queue until one ends.
        connections_max: u32 = "4096", in "1" ..= "1000000";
        /// The head of a request: request line and headers. More is answered 431. Browsers send up to 16 KiB of
        /// cookies.
        head_bytes_max: usize = "32768", in "8192" ..= "262144";
        /// How long a connection may take for the head of a request, or be silent before the next.
        head_timeout: Duration = r#""15s""#, in r#""100ms""# ..= r#""10m""#;
        /// How long a request may take from its head to its answer. Longer is answered 408.
        request_timeout: Duration = r#""30s""#, in r#""1s""# ..= r#""10m""#;
        /// How long requests in flight may take to finish when the server stops.
        shutdown_timeout: Duration = r#""20s""#, in r#""0s""# ..= r#""10m""#;
    }

    /// How long everything lives, in `ms`, `s`, `m`, `h` or `d` (24 hours).
    pub struct Timings {
        /// An access token. Short, because whoever checks it by itself hears of an end no sooner than it looks.
        access_token: Duration = r#""5m""#, in r#""10s""# ..= r#""1h""#;
        /// Repeats of the latest refresh within this time get the same answer: two tabs, or an answer lost on the way.
        refresh_grace: Duration = r#""10s""#, in r#""0s""# ..= r#""10m""#;
        /// A visitor's session before login, with its cart: it may be silent this long, and lives no longer.
        visitor: Duration = r#""14d""#, in r#""1m""# ..= r#""400d""#;
        /// A login may be silent this long: a working day. NIST SP 800-63B-4 (section 2.2.3) advises 1 hour at AAL2;
        /// OWASP names 15 to 30 minutes for little risk and 2 to 5 minutes where much is at stake.
        session_idle: Duration = r#""8h""#, in r#""1m""# ..= r#""400d""#;
        /// A login lives no longer: NIST SP 800-63B-4 (section 2.2.3) advises 24 hours at AAL2.
        session_absolute: Duration = r#""24h""#, in r#""1m""# ..= r#""400d""#;
        /// A login of a user who asked to be remembered may be silent this long.
        remembered_idle: Duration = r#""14d""#, in r#""1m""# ..= r#""400d""#;
        /// A remembered login lives no longer: NIST SP 800-63B-4 (section 2.1.3) advises 30 days at AAL1. Browsers keep
        /// no cookie longer than 400 days.
        remembered_absolute: Duration = r#""30d""#, in r#""1m""# ..= r#""400d""#;
        /// An invitation to register.
        invitation: Duration = r#""7d""#, in r#""1m""# ..= r#""90d""#;
        /// A key signs this long before the next one takes over.
        key_active: Duration = r#""90d""#, in r#""1h""# ..= r#""800d""#;
        /// A key is published this long before it signs: longer than anybody keeps a copy of the key set.
        key_publish_ahead: Duration = r#""1d""#, in r#""10m""# ..= r#""30d""#;
    }

    /// Passwords: what a new one must be, and what its Argon2id hash costs (RFC 9106).
    pub struct Password {
        /// Characters at least. NIST SP 800-63B-4 (section 3.1.1.2) asks for 15 where the password stands alone, and
        /// for 8 where there is always a second factor. There are no rules of composition and nothing expires.
        length_min: usize = "15", in "8" ..= "64";
        /// Memory of one hash in KiB. The defaults are the minimum that OWASP names.
        memory_kib: u32 = "19456", in "8" ..= "1048576";
        /// Passes over that memory.
        iterations: u32 = "2", in "1" ..= "64";
        /// Lanes of one hash; each takes at least 8 KiB.
        parallelism: u32 = "1", in "1" ..= "64";
        /// Hashes computed at a time, each on a core of its own. By default one for each core.
        hashes_in_flight_max: Option<usize>, in "1" ..= "1024";
        /// Hashes that wait; more are answered 503. By default 64 for each in flight: about a second.
        queue_max: Option<usize>, in "0" ..= "1000000";
    }

    /// Bounds. What is over one is refused with an answer that names it.
    pub struct Limits {
        /// The body of a request.
        body_bytes_max: usize = "131072", in "1024" ..= "16777216";
        /// The data of one client in one session, as JSON.
        session_data_bytes_max: usize = "65536", in "1" ..= "1048576";
        /// Live sessions of one user; the one that was silent longest makes room.
        sessions_per_user_max: u32 = "100", in "1" ..= "1000000";
        /// Sessions whose last check is kept in memory, about 400 bytes each.
        live_sessions_max: usize = "100000", in "1" ..= "100000000";
        /// Failed logins from one address (IPv6: /64), whatever the account.
        login_per_address: Quota = r#""100, then 1 per 20s""#;
        /// Failed logins to one account from one address.
        login_per_address_and_account: Quota = r#""20, then 1 per 5m""#;
        /// Failed logins to one account from everywhere; the user's own devices are not held to it.
        login_per_account: Quota = r#""100, then 1 per 36s""#;
        /// Registrations from one address (IPv6: /64), whether or not they succeed.
        registration_per_address: Quota = r#""20, then 1 per 1m""#;
        /// Visitors' sessions that one client opens for one address (IPv6: /64).
        visitors_per_address: Quota = r#""600, then 1 per 1s""#;
        /// Clients that register themselves from one address (IPv6: /64), and their changes, whether or not they
        /// succeed. See `client_registration`.
        client_registrations_per_address: Quota = r#""20, then 1 per 3m""#;
    }

    /// How soon everybody knows of an end: the services that follow the revocation log.
    pub struct Revocation {
        /// How long a follower may decide alone. An end that is to be confirmed waits this long for a follower that
        /// does not answer.
        lease: Duration = r#""1s""#, in r#""100ms""# ..= r#""30s""#;
        /// Followers at a time, each a process; more are answered 503. One takes about 10 KiB.
        followers_max: usize = "10000", in "1" ..= "1000000";
    }

    /// Where everything is kept.
    pub struct StoreSection {
        /// A PostgreSQL database, which many servers may share: `postgres://user@host/name?sslmode=verify-full`. By
        /// default a file in `data_dir`, which one server uses. It may hold a password, so it is best given as
        /// `SYMBOLON_STORE__URL`, or by `url_file`.
        url: Option<DatabaseUrl>, secret true;
        /// The file that the URL is read from at start, instead of `url`: for secrets that are mounted.
        url_file: Option<PathBuf>;
        /// Connections to PostgreSQL that read at a time, and as many that write.
        connections_max: u32 = "10", in "1" ..= "1000";
        /// How long PostgreSQL may take for one act, with all tries; after that the answer is 503.
        timeout: Duration = r#""5s""#, in r#""100ms""# ..= r#""1m""#;
        /// Whether no commit is lost when another PostgreSQL server takes over: there is none, or it has every commit
        /// (synchronous replication) and the one before it is kept from answering. Where this is `false`, nothing is
        /// confirmed.
        fenced: bool = "true";
    }

    /// Requests to servers that clients name: receivers of logout tokens, key sets.
    pub struct Outbound {
        /// Addresses that may be reached though they are not public, as addresses or networks: a receiver in the same
        /// network, or on this machine. Plain `http` goes to these alone. None by default, because whoever registers a
        /// client could otherwise have this server ask what only it can reach.
        allowed_networks: Vec<Network> = "[]";
        /// The authorities that are trusted over TLS, PEM. By default those of the system.
        ca_file: Option<PathBuf>;
        /// How long a request may take, from looking up the name to the last byte of the answer.
        timeout: Duration = r#""5s""#, in r#""100ms""# ..= r#""1m""#;
    }

    /// Who may make an account.
    pub struct Register {
        /// `closed`: administrators add users. `invitation`: who has one (`symbolon user invite`). `open`: everybody;
        /// `symbolon dev` begins with that.
        mode: Registration = r#""closed""#;
    }

    /// Clients that register themselves (RFC 7591, OpenID Connect Dynamic Client Registration), and change and remove
    /// themselves (RFC 7592). Consent is always asked for them, and they are never `first_party`.
    pub struct RegisterClient {
        /// `off`: there is no registration. `token`: who has a token of `symbolon client invite`. `open`: everybody.
        mode: ClientRegistration = r#""off""#;
        /// The scopes that they may ask for, besides the standard ones.
        scopes: Vec<Scope> = "[]";
        /// The grants that they may use.
        grant_types: Vec<GrantType> = r#"["authorization_code", "refresh_token"]"#;
        /// Whom their access tokens can be for; the first is the default. By default userinfo alone.
        audiences: Vec<String> = "[]";
        /// Whether their authorization requests need a code challenge (PKCE), also where they prove who they are.
        pkce_required: bool = "true";
        /// Clients that have registered themselves, at a time.
        clients_max: u32 = "1000", in "1" ..= "100000";
    }

    /// Whose pages these are. A client can have a `brand` table of its own; what it leaves out is as here.
    pub struct Brand {
        /// The name of the service. `Symbolon` by default.
        name: Option<String>;
        /// The logo, an SVG file of at most 64 KiB.
        logo_file: Option<PathBuf>;
        /// The colour of buttons and links. Pages shift it just so far that it can be read.
        accent: Option<Colour>;
        /// Links at the foot of every page, such as a privacy policy.
        links: Option<Vec<Link>>;
    }

    /// An application that knows Symbolon. Its name is its `client_id`.
    pub struct Client {
        /// `public`: it cannot keep a secret (a SPA, a mobile app). `confidential`: its server side keeps one.
        /// `resource`: an API, which only checks tokens and asks for session data.
        kind: ClientKind;
        /// What people call it, on the page that asks them to allow something. Its id, if nothing is said.
        name: Option<Name>;
        /// Whether it is ours: it may take passwords itself, and no consent is asked for it.
        first_party: bool = "false";
        /// SHA-256 of its secret. The secret itself stands nowhere: make one with `symbolon client add`, or from 32
        /// random bytes.
        secret_sha256: Option<SecretSha256>, secret true;
        /// The file that its secret is read from at start, instead of `secret_sha256`: for secrets that are mounted.
        secret_file: Option<PathBuf>;
        /// Whom its tokens can be for; the first is the default. By default the server itself; for clients
        /// of others that log users in, by a redirect or on a device, userinfo alone.
        audiences: Vec<String> = "[]";
        /// Its own names as a resource server: with the grant of token exchange (RFC 8693) it gets, for a user's access
        /// token that is for one of them, a token for one of its `audiences`, to act for the user there.
        exchange_audiences: Vec<String> = "[]";
        /// The origins of its pages, exactly: they may call the API from the browser.
        origins: Vec<Origin> = "[]";
        /// Where a browser may be sent back to, exactly.
        redirect_uris: Vec<RedirectUri> = "[]";
        /// Where a browser may be sent to after a logout, exactly.
        post_logout_redirect_uris: Vec<PostLogoutUri> = "[]";
        /// Where its server side hears that a session is over (OpenID Connect Back-Channel Logout): it is told again
        /// and again, for up to a week, until it says 200. See `outbound`.
        backchannel_logout_uri: Option<LogoutUri>;
        /// Whether it needs `sid` in logout tokens, which always have it.
        backchannel_logout_session_required: bool = "false";
        /// What browsers load in a hidden frame when they log out (OpenID Connect Front-Channel Logout).
        frontchannel_logout_uri: Option<LogoutUri>;
        /// Whether it needs `iss` and `sid` with it, which are always sent.
        frontchannel_logout_session_required: bool = "false";
        /// `native`: an app on a device, which is sent back to a loopback address on any port (RFC 8252). `web`: all others.
        application_type: ApplicationType = r#""web""#;
        /// Whether its authorization requests need a code challenge (PKCE). Those of a public client always do; for a
        /// confidential one, turn it off only if its library has none.
        pkce_required: bool = "true";
        /// Whether its authorization requests count only when it has pushed them (RFC 9126).
        require_pushed_authorization_requests: bool = "false";
        /// How old its users' logins may be, in seconds, where a request does not say.
        default_max_age: Option<u32>;
        /// Whether it needs `auth_time` in ID tokens, which always have it.
        require_auth_time: bool = "false";
        /// The one algorithm of the requests that it signs. Any that its keys have, if nothing is said.
        request_object_signing_alg: Option<SignatureAlgorithm>;
        /// The scopes that it may ask for, besides the standard ones (`openid`, `profile`, `email`, ...).
        scopes: Vec<Scope> = "[]";
        /// The grants that it may use; a machine that acts for itself uses `client_credentials`, a service that acts for
        /// users `urn:ietf:params:oauth:grant-type:token-exchange`, a device without a browser
        /// `urn:ietf:params:oauth:grant-type:device_code`.
        grant_types: Vec<GrantType> = r#"["authorization_code", "refresh_token"]"#;
        /// How its access tokens are signed. Every library knows ES256.
        algorithm: Algorithm = r#""ES256""#;
        /// How its ID tokens are signed. Every OpenID Connect library knows RS256.
        id_token_algorithm: Algorithm = r#""RS256""#;
        /// How userinfo answers are signed for it; by default they are not, and are plain JSON.
        userinfo_algorithm: Option<Algorithm>;
        /// The `typ` of its access tokens (RFC 9068); `JWT` for libraries that refuse the other.
        token_type: TokenType = r#""at+jwt""#;
        /// `jwt`: whoever holds an access token of it can read what it says. `opaque`: only this server can, and resource
        /// servers ask it (introspection, as the guard does by itself).
        access_token_format: TokenFormat = r#""jwt""#;
        /// `public`: it knows a user by the same id as every other client. `pairwise`: by one that clients of other hosts
        /// do not know. Changing it makes every user somebody new for the client.
        subject_type: SubjectType = r#""public""#;
        /// For pairwise ids, if its `redirect_uris` are of several hosts: the URL of a JSON list of them all, whose host
        /// is what counts. Clients with the same host know users by the same ids.
        sector_identifier_uri: Option<SectorUri>;
        /// The one way in which it proves who it is. Any that it can, if nothing is said.
        token_endpoint_auth_method: Option<AuthMethod>;
        /// The one algorithm of what it signs to prove itself. Any that its keys have, if nothing is said.
        token_endpoint_auth_signing_alg: Option<SignatureAlgorithm>;
        /// The public keys that it proves itself with instead of a secret (`private_key_jwt`), as a JWK set. One that
        /// has a secret by its `token_endpoint_auth_method` signs requests with them.
        jwks: Option<ClientJwks>;
        /// Where its public keys are, instead of `jwks`. They are fetched when they are needed, and again after ten
        /// minutes or when a key is not among them. `[outbound]` says what may be reached.
        jwks_uri: Option<JwksUri>;
        /// Whether what it signs to prove itself may name the token endpoint as its audience, too: for libraries that
        /// cannot name the issuer, such as Spring Security. Not for a client that uses its key at other servers.
        token_endpoint_audience: bool = "false";
        /// Whether its access tokens must be bound to a key (DPoP, RFC 9449). Others may bind theirs.
        dpop_bound_access_tokens: bool = "false";
        /// What a browser may do with keys of its session data: none unless declared.
        browser: BTreeMap<String, BrowserAccess>;
    }

    /// What a client says of itself, for people. Nothing is fetched from these addresses.
    pub struct About {
        /// What people call it who read these languages.
        names: BTreeMap<Language, Name>;
        /// Its home page.
        client_uri: Option<PageUri>;
        /// Its logo. It is shown nowhere: pages load nothing from elsewhere. `brand.logo_file` is for that.
        logo_uri: Option<PageUri>;
        /// How it deals with personal data; a link where people allow it something.
        policy_uri: Option<PageUri>;
        /// Its terms; a link at the same place.
        tos_uri: Option<PageUri>;
        /// Where a login can begin that others want.
        initiate_login_uri: Option<PageUri>;
        /// Who is responsible for it.
        contacts: Vec<Name> = "[]";
        /// What software it is.
        software_id: Option<Name>;
        /// Which version of it.
        software_version: Option<Name>;
    }

    /// A scope of your own, by its name: what the page says that asks people to allow it.
    pub struct ScopeWords {
        /// What a client may do with it, such as `Read your calendar`.
        description: String;
        /// The same in Korean. If nothing is said, `description` stands there, too.
        description_ko: Option<String>;
    }

    /// A claim that applications are told besides the standard ones, or under another name. The table's name is the
    /// claim's: `[claim.groups]`, `[claim."https://shop.example/roles"]`. Names that the protocol uses are refused.
    pub struct ClaimSection {
        /// What it says: `roles`, or a standard claim of the user such as `email` or `preferred_username`.
        from: Option<String>;
        /// A text that it says of everybody, instead of `from`.
        value: Option<String>;
        /// Where it stands. In access tokens, every claim makes every request longer.
        places: Vec<Place> = r#"["id_token", "userinfo"]"#;
        /// The scope that asks for it; by default it is told whatever the scope is.
        scope: Option<Scope>;
        /// The clients that are told; by default all.
        clients: Vec<ClientId> = "[]";
    }

    /// What the server says about itself, to standard error.
    pub struct Log {
        /// For people, or one JSON object per line.
        format: LogFormat = r#""text""#;
        /// `error`, `warn`, `info`, `debug` or `trace`, for all or by module. `info` tells of requests that failed or
        /// were not answered; `info,symbolon::request=debug` tells of every one.
        level: LogLevel = r#""info""#;
    }

    /// Keys at rest.
    pub struct Keys {
        /// The master key that all others are encrypted under: 64 hexadecimal digits. Made at the first start if the
        /// file is missing. By default `master.key` in `data_dir`; better on another disk.
        master_key_file: Option<PathBuf>;
    }
}

table! {
    Top at [];
    Listen at ["listen"];
    Timings at ["lifetimes"];
    Password at ["password"];
    Limits at ["limits"];
    Revocation at ["revocation"];
    StoreSection at ["store"];
    Outbound at ["outbound"];
    Register at ["registration"];
    RegisterClient at ["client_registration"];
    Brand at ["brand"];
    Client at ["client", "*"];
    About at ["client", "*", "about"];
    Brand at ["client", "*", "brand"];
    ScopeWords at ["scope", "*"];
    ClaimSection at ["claim", "*"];
    Log at ["log"];
    Keys at ["keys"];
}
