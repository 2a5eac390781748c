//! The running server: what every act needs, made once.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::hmac;
use symbolon_core::{
    client::{Client, ClientId},
    handle::{Handle, InvalidHandle, Kind},
    id::{EntryId, NodeId, UserId},
    keys::{self, KeyRecord, KeyRing, MasterKey},
    password::{self, Password},
    revocation,
    secret::{SecretBytes, SecretText},
    session::Assurance,
    subject::SubjectKey,
    time::Time,
    token::{self, AccessToken, Rules, TokenType, Verifier},
    user::User,
};

use symbolon_guard::{
    Claims,
    proven::{Proven, Weight},
};

pub use crate::os::{Os, now};
use crate::{
    attempts::Attempts,
    config::{Config, DatabaseUrl, StoreSettings},
    key_sets::KeySets,
    live::LiveSessions,
    machines::Machines,
    ops::{self, Unavailable},
    password::{Bounds, Busy, Passwords, PhcString, Verdict},
    reach::Reach,
    store::{Cluster, Database, Leasing, Store, StoreError},
};

/// How far clocks may differ, in one place.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// The longest lease that can be configured: one may be out that was granted before a restart.
pub const LEASE_MAX: Duration = Duration::from_secs(30);

/// How long an entry of the revocation log must be kept.
pub fn entry_life(config: &Config) -> Duration {
    revocation::entry_life(config.lifetimes.access_token_max(), LEEWAY, LEASE_MAX)
}

/// The opened keys, and the verifier that is made of them.
#[derive(Debug)]
pub struct Keys {
    /// Every key that is upcoming, active or retired.
    pub ring: KeyRing,
    /// Verifies access tokens of ours, for whatever audience. Whoever asks looks at the audience, too.
    pub verifier: Verifier,
    /// Tokens that it has verified lately. They go with it: other keys or audiences begin anew.
    pub verified: Proven<Verified>,
}

impl Keys {
    fn new(ring: KeyRing, verifier: Verifier) -> Self {
        Self { ring, verifier, verified: Proven::new(VERIFIED_BYTES_MAX) }
    }
}

/// A verified access token, and what is looked up at every use.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: token::Claims,
    /// The ids that end it.
    pub entries: [EntryId; 5],
    /// What it says of who asks.
    pub identity: Arc<Claims>,
}

impl Verified {
    /// Keeps what a verified token says.
    pub fn new(token: AccessToken) -> Self {
        let (entries, claims) = (token.entries(), token.claims);
        let aal2 = claims.acr.as_deref() == Some(Assurance::Aal2.as_str());
        // Tokens of one factor say nothing about it.
        let assurance = if aal2 { Assurance::Aal2 } else { Assurance::Aal1 };
        let identity = Arc::new(Claims {
            subject: claims.user,
            session: claims.sid,
            parent: None,
            client: claims.client_id.clone(),
            scopes: claims.scopes().map(Into::into).collect(),
            assurance: claims.user.map(|_| assurance),
            roles: claims.roles.clone().into(),
            auth_time: claims.auth_time,
            act: claims.act.clone(),
            key: claims.key,
        });
        Self { claims, entries, identity }
    }
}

impl Weight for Verified {
    fn bytes(&self) -> usize {
        let words = self.claims.roles.iter().map(|role| 2 * role.len() + 32).sum::<usize>();
        let scope = self.claims.scope.as_ref().map_or(0, |scope| 3 * scope.len());
        let more = self.claims.more.iter();
        let more = more.map(|(name, value)| 64 + name.len() + 4 * value.to_string().len());
        640 + words + scope + more.sum::<usize>()
    }
}

/// How much memory verified tokens may take.
const VERIFIED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The running server.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The store.
    pub store: Store,
    /// Sessions that were proven lately.
    pub live: LiveSessions,
    /// Sessions of machines that were proven a moment ago.
    pub machines: Machines,
    /// The password hash.
    pub passwords: Passwords,
    /// Attempt limits.
    pub attempts: Attempts,
    /// Asks servers that clients name.
    pub reach: Reach,
    /// The keys of clients that prove themselves with one.
    pub key_sets: KeySets,
    /// Whose turn it is to write session data.
    pub turns: ops::data::Turns,
    /// Which of their assertions were used.
    pub assertions: ops::assertion::Used,
    /// Opens the keys at rest.
    pub master: Arc<MasterKey>,
    /// Makes the ids under which pairwise clients know users.
    subjects: SubjectKey,
    /// Whoever changes keys, or reads keys or clients anew, has the turn.
    pub key_turn: tokio::sync::Mutex<()>,
    /// Which settings of the store are loaded.
    settings: tokio::sync::Mutex<u64>,
    keys: RwLock<Arc<Keys>>,
    clients: RwLock<Arc<HashMap<ClientId, Arc<Client>>>>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys did not open, or could not be made.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The threads that hash passwords could not be started.
    #[error("the password threads: {0}")]
    Threads(std::io::Error),
    /// The master key could not be read or made.
    #[error("the master key {path}: {cause}")]
    MasterKey {
        /// Its file.
        path: std::path::PathBuf,
        /// What went wrong.
        cause: String,
    },
}

impl StartError {
    /// Whether another server works on the data folder.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Store(StoreError::Busy(_)))
    }

    /// The stable code, and what to do.
    pub fn advice(&self) -> (&'static str, &'static str) {
        match self {
            Self::Store(error) => error.advice(),
            Self::MasterKey { .. } | Self::Unavailable(_) => (
                "master_key",
                "put back the master key that the store was made with; all servers on one database have the same",
            ),
            Self::Threads(_) => ("threads", "raise the limit of threads of this user"),
        }
    }
}

impl App {
    /// Opens the data folder (which must exist) and everything in it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let now = now();
        let (store, secret) = open_store(&config, now - entry_life(&config)).await?;
        let (master, subjects) = (MasterKey::new(&secret), SubjectKey::new(&secret));
        let verifier = Verifier::new(Rules::new(config.public_url.issuer(), []), []);
        let ring = KeyRing::open(&[], &master, &key_policy(&config)).map_err(key_error)?;
        let app = Arc::new(Self {
            live: LiveSessions::new(config.limits.live_sessions_max, config.lifetimes.access_token),
            machines: Machines::new(config.revocation.lease),
            passwords: passwords(&config)?,
            attempts: Attempts::new(config.limits.quotas(), &SecretBytes::random(&mut Os)),
            reach: Reach::new(&config.outbound),
            key_sets: KeySets::default(),
            turns: ops::data::Turns::default(),
            assertions: ops::assertion::Used::new(now),
            master: Arc::new(master),
            subjects,
            key_turn: tokio::sync::Mutex::default(),
            settings: tokio::sync::Mutex::default(),
            keys: RwLock::new(Arc::new(Keys::new(ring, verifier))),
            clients: RwLock::default(),
            store,
            config,
        });
        if app.config.store.fenced && app.store.has_asynchronous_standbys().await? {
            tracing::warn!(
                code = "asynchronous_standbys",
                fix = "make one of them synchronous (synchronous_standby_names), or set store.fenced = false",
                "the database has standbys that may lack commits: if one takes over, a confirmed end may be lost"
            );
        }
        // Whoever cannot open the keys changes nothing.
        app.open_ring().await?;
        app.saw_stored_passwords().await?;
        ops::clients::apply_declared(&app, &app.config.clients, now).await?;
        ops::keys::rotate_due(&app, now).await?;
        Ok(app)
    }

    /// Waits until this process may decide by what it holds, with the clients and keys of when it learned that.
    ///
    /// # Errors
    /// [`Unavailable`] if the store does not answer.
    pub async fn stand(&self) -> Result<(), Unavailable> {
        self.store.stand().await?;
        let mut loaded = self.settings.lock().await;
        let settings = self.store.settings();
        if *loaded != settings {
            self.load_clients().await?;
            self.live.forget_all();
            *loaded = settings;
        }
        Ok(())
    }

    /// The keys as they are now.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client of this name.
    pub fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All clients, by name.
    pub fn clients(&self) -> Arc<HashMap<ClientId, Arc<Client>>> {
        Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a handle of this kind. A half that is presented where the other belongs is none.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    pub fn parse_handle(
        &self,
        text: &SecretText,
        kind: Kind,
        now: Time,
    ) -> Result<Handle, InvalidHandle> {
        let keys = self.keys();
        let handle = Handle::parse(text.expose(), |short_id| {
            keys.ring.handle_key_by_short_id(short_id, now)
        })?;
        if handle.name().kind == kind { Ok(handle) } else { Err(InvalidHandle::Malformed) }
    }

    /// The `sub` under which a client knows a user.
    pub fn subject(&self, client: &Client, user: UserId) -> UserId {
        self.subjects.subject(client, user)
    }

    /// What a new password must be.
    pub fn password_policy(&self) -> password::Policy {
        password::Policy { length_min: self.config.password.length_min }
    }

    /// How keys follow each other.
    pub fn key_policy(&self) -> keys::Policy {
        key_policy(&self.config)
    }

    /// The password of a demo user. It follows from the master key, so it is the same at every start and rests nowhere.
    ///
    /// # Errors
    /// The master key cannot be read.
    pub fn demo_password(&self, name: &str) -> std::io::Result<SecretText> {
        let text = SecretText::new(std::fs::read_to_string(&self.config.master_key_file)?);
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.expose().trim().as_bytes());
        let tag = hmac::sign(&key, format!("demo password of {name}").as_bytes());
        // 20 letters of 32: 100 bits, easy to type.
        let letter =
            |byte: &u8| char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[usize::from(byte % 32)]);
        let letters: Vec<char> = tag.as_ref().iter().take(20).map(letter).collect();
        let groups: Vec<String> = letters.chunks(5).map(|group| group.iter().collect()).collect();
        Ok(SecretText::new(groups.join("-")))
    }

    /// Opens the ring anew, after its records have changed.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn open_ring(&self) -> Result<(), Unavailable> {
        let records = self.store.keys().await?;
        let ring = KeyRing::open(&records, &self.master, &self.key_policy()).map_err(key_error)?;
        self.put_ring(ring);
        Ok(())
    }

    fn put_ring(&self, ring: KeyRing) {
        let clients = self.clients();
        let audiences = clients.values().flat_map(|client| &client.audiences).map(String::as_str);
        let issuer = self.config.public_url.issuer();
        let userinfo = ops::issue::userinfo(self);
        let rules = Rules {
            types: vec![TokenType::AtJwt, TokenType::Jwt],
            leeway: LEEWAY,
            lifetime_max: self.config.lifetimes.access_token_max(),
            ..Rules::new(issuer, audiences.chain([issuer, userinfo.as_str()]))
        };
        let verifier = Verifier::new(rules, ring.verifying_keys(now()).cloned());
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Keys::new(ring, verifier));
    }

    /// Loads the clients anew, after they have changed.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn load_clients(&self) -> Result<(), Unavailable> {
        // One after the other, lest an older read lands last: a rotated secret or a withdrawn key would be back.
        let _turn = self.key_turn.lock().await;
        let clients = self.store.clients().await?;
        let clients =
            clients.into_iter().map(|client| (client.id.clone(), Arc::new(client))).collect();
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(clients);
        self.open_ring().await
    }

    /// An unknown user must cost as much as the dearest hash that rests.
    async fn saw_stored_passwords(&self) -> Result<(), StoreError> {
        for hash in self.store.password_samples().await? {
            if let Ok(hash) = hash.expose().parse::<PhcString>() {
                self.passwords.saw(hash.cost());
            }
        }
        Ok(())
    }

    /// Whether this is the user's password. One password hash, whether or not there is a user.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if too many wait.
    pub async fn verify_password(
        &self,
        user: Option<&User>,
        password: &Password,
    ) -> Result<Verdict, Unavailable> {
        // A hash that does not parse lets nobody in, and costs the same.
        let stored = user.and_then(|user| user.password.expose().parse::<PhcString>().ok());
        self.passwords.verify(stored.as_ref(), password).await.map_err(busy)
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if too many wait.
    pub async fn hash_password(&self, password: &Password) -> Result<SecretText, Unavailable> {
        self.passwords.hash(password, &mut Os).await.map(|hash| hash.text()).map_err(busy)
    }
}

/// The store and the master key. A database is only entered with the one that its other servers have.
async fn open_store(
    config: &Config,
    ended_since: Time,
) -> Result<(Store, SecretBytes<32>), StartError> {
    let leasing =
        Leasing { lease: config.revocation.lease, followers_max: config.revocation.followers_max };
    let StoreSettings { url, connections_max, timeout, .. } = config.store.clone();
    let (folder, file) = (&config.data_dir, &config.master_key_file);
    let Some(DatabaseUrl(url)) = url else {
        let store = Store::open(folder, ended_since, leasing).await?;
        let secret = match read_master_key(file)? {
            Some(secret) => secret,
            None if store.keys().await?.is_empty() => make_master_key(file)?,
            None => return Err(master_key_error(file, &"there is none, and the store has keys")),
        };
        return Ok((store, secret));
    };
    let known = read_master_key(file)?;
    let made = known.is_none();
    let secret = known.map_or_else(|| make_master_key(file), Ok)?;
    let cluster = Cluster::new(config.public_url.issuer(), &MasterKey::new(&secret));
    let database = Database { url, connections_max, timeout };
    let store = Store::connect(&database, folder, ended_since, leasing, cluster).await;
    if made && matches!(store, Err(StoreError::OtherMasterKey)) {
        std::fs::remove_file(file).map_err(|cause| master_key_error(file, &cause))?;
    }
    Ok((store?, secret))
}

fn busy(busy: Busy) -> Unavailable {
    Unavailable::Busy { retry_after: busy.retry_after }
}

fn passwords(config: &Config) -> Result<Passwords, StartError> {
    let settings = &config.password;
    let bounds = Bounds {
        cost: settings.cost,
        threads: settings.hashes_in_flight_max,
        queue_max: settings.queue_max,
    };
    Passwords::start(bounds).map_err(StartError::Threads)
}

fn key_policy(config: &Config) -> keys::Policy {
    let lifetimes = &config.lifetimes;
    let keep_tokens = lifetimes.access_token_max() + LEEWAY * 2;
    keys::Policy {
        active_for: lifetimes.key_active,
        publish_ahead: lifetimes.key_publish_ahead,
        keep_tokens,
        // They seal access tokens, too.
        keep_handles: lifetimes.session_absolute_max().max(keep_tokens),
    }
}

fn key_error(error: keys::OpenRingError) -> Unavailable {
    Unavailable::Key(format!("{error}; is this the master key that the store was made with?"))
}

/// Whether the master key of the configuration opens these keys. It is not made.
///
/// # Errors
/// What is wrong, for people.
pub fn check_keys(config: &Config, records: &[KeyRecord]) -> Result<(), String> {
    let path = &config.master_key_file;
    let secret = read_master_key(path).map_err(|error| error.to_string())?;
    let secret = secret.ok_or_else(|| format!("there is no master key in {}", path.display()))?;
    let opened = KeyRing::open(records, &MasterKey::new(&secret), &key_policy(config));
    opened.map(drop).map_err(|error| format!("the master key in {}: {error}", path.display()))
}

/// Makes the master key of a new store: 32 random bytes as hex, readable by its owner alone.
fn make_master_key(path: &Path) -> Result<SecretBytes<32>, StartError> {
    let secret = SecretBytes::random(&mut Os);
    match write_private(path, &hex(&secret)) {
        Ok(()) => Ok(secret),
        // Another process was faster.
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            read_master_key(path)?.ok_or_else(|| master_key_error(path, &cause))
        }
        Err(cause) => Err(master_key_error(path, &cause)),
    }
}

fn read_master_key(path: &Path) -> Result<Option<SecretBytes<32>>, StartError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => SecretText::new(text),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(master_key_error(path, &cause)),
    };
    let secret = unhex(text.expose().trim());
    let error = || master_key_error(path, &"it is not 64 hexadecimal digits");
    secret.map(Some).ok_or_else(error)
}

fn master_key_error(path: &Path, cause: &dyn std::fmt::Display) -> StartError {
    StartError::MasterKey { path: path.into(), cause: cause.to_string() }
}

/// Whole or not at all, and never over what is there.
fn write_private(path: &Path, text: &SecretText) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}", NodeId::random(&mut Os)));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create_new(true).write(true).mode(0o600).open(&part)?;
    let written = file.write_all(text.expose().as_bytes()).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| std::fs::hard_link(&part, path));
    std::fs::remove_file(&part)?;
    placed
}

fn hex(bytes: &SecretBytes<32>) -> SecretText {
    SecretText::new(bytes.expose().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unhex(text: &str) -> Option<SecretBytes<32>> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(SecretBytes::new(bytes))
}
