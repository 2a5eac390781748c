//! Real PostgreSQL servers: one for all tests of a run, and one for each test that breaks it. They listen on 127.0.0.1
//! and on a socket, and end with this process, however it ends.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use symbolon_core::secret::SecretText;

use crate::{process::free_port, store::Folder};

/// A server and its data.
pub(crate) struct Cluster {
    folder: Folder,
    pub(crate) port: u16,
    /// A shell that ends the server when its input is closed.
    keeper: Option<Child>,
    settings: Vec<String>,
    /// A command that becomes the server, such as `unshare`.
    by: Vec<String>,
    is_shared: bool,
}

/// The password in the URLs that tests use. The server lets everybody in; we must keep it to ourselves all the same.
pub(crate) const DATABASE_PASSWORD: &str = "a-password-of-the-database";

/// Whether the tests of both engines run on PostgreSQL.
pub(crate) fn is_asked_for() -> bool {
    std::env::var_os("SYMBOLON_TEST_STORE").is_some_and(|store| store == "postgres")
}

/// The server of this run. Without PostgreSQL: `None`, and a word about it.
pub(crate) fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| Cluster::begin(&["fsync=off"], true));
    if shared.is_none() {
        assert!(!is_asked_for(), "PostgreSQL is asked for and not installed");
        println!("skipped, because PostgreSQL is not installed");
    }
    shared.as_ref()
}

/// The URL of a database of this folder's own at the server of this run.
pub(crate) fn database_of(folder: &Path) -> SecretText {
    let cluster = shared().unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    cluster.create(name);
    cluster.url(name)
}

/// All that rests in it, as text.
pub(crate) fn dump_database_of(folder: &Path) -> Vec<u8> {
    let cluster = shared().unwrap();
    let mut dump = Command::new(program("pg_dump").unwrap());
    // Bytes that are letters stay letters.
    dump.env("PGOPTIONS", "-c bytea_output=escape").arg("-h").arg(&cluster.folder.0);
    dump.args(["-p", &cluster.port.to_string(), "-U", "symbolon", "--data-only", "--dbname"]);
    let dumped = dump.arg(folder.file_name().unwrap()).output().unwrap();
    // A test may have given its server another database.
    let errors = String::from_utf8_lossy(&dumped.stderr);
    assert!(dumped.status.success() || errors.contains("does not exist"), "{errors}");
    dumped.stdout
}

/// Removes it.
pub(crate) fn drop_database_of(folder: &Path) {
    if let (true, Some(cluster)) = (is_asked_for(), shared()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        cluster.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    // Debian keeps them apart, one folder per version.
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A command as a user that PostgreSQL agrees to: it does not run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn own_folder() -> Folder {
    let folder = Folder::new();
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&folder.0, Some(65534), Some(65534)).unwrap();
    }
    folder
}

/// PgBouncer in front of a server.
pub(crate) struct Bouncer {
    keeper: Child,
    pub(crate) port: u16,
    _folder: Folder,
}

impl Bouncer {
    /// `None` if it is not installed.
    pub(crate) fn start(cluster: &Cluster, mode: &str) -> Option<Self> {
        let Some(bouncer) = program("pgbouncer") else {
            println!("skipped, because PgBouncer is not installed");
            return None;
        };
        let (folder, port) = (own_folder(), free_port());
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=symbolon\n[pgbouncer]\nlisten_addr=127.0.0.1\n\
             listen_port={port}\nunix_socket_dir=\nauth_type=any\npool_mode={mode}\n",
            cluster.port
        );
        let file = folder.0.join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        let server = unprivileged(&bouncer);
        let script = "\"$@\" & server=$!; cat >/dev/null; kill $server; wait $server";
        let mut keeper = Command::new("sh");
        keeper.args(["-c", script, "keeper"]).arg(server.get_program()).args(server.get_args());
        keeper.arg(&file).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null());
        let keeper = keeper.stderr(Stdio::null()).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Some(Self { keeper, port, _folder: folder })
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Cluster {
    /// Makes a server with these settings and starts it. `None` if PostgreSQL is not installed.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        Self::begin(settings, false)
    }

    /// The same with a small disk beside it, in the folder that is returned, as the server sees it. `None` also where
    /// nobody may mount one.
    pub(crate) fn start_with_small_disk(megabytes: u32) -> Option<(Self, PathBuf)> {
        let may = Command::new("unshare").args(["--mount", "true"]).output();
        if !is_root() || !may.is_ok_and(|output| output.status.success()) {
            println!("not run: only root may mount a small disk for another user");
            return None;
        }
        let (mut cluster, folder) = Self::make(&["fsync=off"], false)?;
        let small = folder.join("small");
        std::fs::create_dir(&small).unwrap();
        let mount = format!(
            "mount -t tmpfs -o size={megabytes}m,mode=700,uid=65534,gid=65534 tmpfs {} && exec \"$@\"",
            small.display()
        );
        let by = ["unshare", "--mount", "--propagation=private", "sh", "-c", &mount, "sh"];
        cluster.by = by.map(str::to_owned).into();
        cluster.run();
        let sees = format!("/proc/{}/root{}", cluster.pid(), small.display());
        cluster.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", small.display()));
        Some((cluster, sees.into()))
    }

    /// A server that follows this one (streaming replication), and takes its place when it is promoted.
    pub(crate) fn standby(&self) -> Self {
        let folder = own_folder();
        let mut copy = unprivileged(&program("pg_basebackup").unwrap());
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-U", "symbolon"]);
        copy.arg("-h").arg(&self.folder.0).args(["-p", &self.port.to_string(), "--pgdata"]);
        let copied = copy.arg(folder.0.join("data")).current_dir("/").output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let settings = vec!["fsync=off".to_owned()];
        let (port, by) = (free_port(), Vec::new());
        let mut standby = Self { folder, port, keeper: None, settings, by, is_shared: false };
        standby.run();
        standby
    }

    /// A file beside the data that only the server reads.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
        }
        path
    }

    /// Changes settings while it runs.
    pub(crate) fn set(&self, settings: &[&str]) {
        for setting in settings {
            self.sql("postgres", &format!("ALTER SYSTEM SET {setting}"));
        }
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    fn begin(settings: &[&str], is_shared: bool) -> Option<Self> {
        let (mut cluster, _) = Self::make(settings, is_shared)?;
        cluster.run();
        Some(cluster)
    }

    fn make(settings: &[&str], is_shared: bool) -> Option<(Self, PathBuf)> {
        let initdb = program("initdb")?;
        let folder = own_folder();
        let made = unprivileged(&initdb)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            // Names are not put in the order of bytes here, unless we say so.
            .args(["--locale-provider=icu", "--icu-locale=en"])
            .args(["--username=symbolon", "--pgdata"])
            .arg(folder.0.join("data"))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let path = folder.0.clone();
        let port = free_port();
        Some((Self { folder, port, keeper: None, settings, by: Vec::new(), is_shared }, path))
    }

    /// Starts it, again, and waits until it answers.
    pub(crate) fn run(&mut self) {
        // Of the server of the whole run nobody is left to remove the data.
        let script = "folder=$1; shift; \"$@\" & server=$!; cat >/dev/null; kill -INT $server; wait $server; rm -rf \"$folder\"";
        let server = unprivileged(&program("postgres").unwrap());
        let mut keeper = Command::new("sh");
        let last = if self.is_shared { self.folder.0.as_path() } else { Path::new("") };
        keeper.args(["-c", script, "keeper"]).arg(last);
        keeper.args(&self.by).arg(server.get_program()).args(server.get_args());
        keeper.arg("-D").arg(self.folder.0.join("data"));
        let socket = format!("unix_socket_directories={}", self.folder.0.display());
        let port = format!("port={}", self.port);
        let own = ["listen_addresses=127.0.0.1", "max_connections=400", &socket, &port];
        for setting in own.into_iter().chain(self.settings.iter().map(String::as_str)) {
            keeper.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.0.join("log")).unwrap();
        let keeper = keeper.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null());
        self.keeper = Some(keeper.stderr(log).spawn().unwrap());
        while !self.try_sql("postgres", "SELECT 1") {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let ended = self.keeper.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{:?}", std::fs::read_to_string(self.folder.0.join("log")));
        }
    }

    /// The process of the server.
    pub(crate) fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.folder.0.join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// Ends it in an orderly way and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// `kill -9` of the server, and waits until it is gone with all its children.
    pub(crate) fn kill(&mut self) {
        self.signal("-9");
        self.stop();
    }

    /// Sends a signal to the server and all its children.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let mut kill = Command::new("kill");
        // Some of the children may be gone before their turn.
        let _ = kill.args([signal, &pid.to_string()]).args(children.split_whitespace()).output();
    }

    /// A database of this name, unless it is there.
    pub(crate) fn create(&self, name: &str) {
        let there = format!("SELECT 1 / count(*) FROM pg_database WHERE datname = '{name}'");
        if !self.try_sql("postgres", &there) {
            self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        }
    }

    pub(crate) fn url(&self, database: &str) -> SecretText {
        let socket = self.folder.0.display().to_string().replace('/', "%2F");
        SecretText::new(format!(
            "postgres://symbolon:{DATABASE_PASSWORD}@localhost:{}/{database}?host={socket}",
            self.port
        ))
    }

    /// The same over TCP, at a port that leads there.
    pub(crate) fn url_at(port: u16, user: &str, database: &str) -> SecretText {
        SecretText::new(format!("postgres://{user}@127.0.0.1:{port}/{database}"))
    }

    /// Runs statements.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, text: &str) {
        assert!(self.try_sql(database, text), "{text}");
    }

    /// Whether they ran.
    pub(crate) fn try_sql(&self, database: &str, text: &str) -> bool {
        let mut psql = Command::new(program("psql").unwrap());
        psql.arg("-qX").arg("-h").arg(&self.folder.0).args(["-p", &self.port.to_string()]);
        psql.args(["-U", "symbolon", "-d", database, "-v", "ON_ERROR_STOP=1", "-c", text]);
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        psql.status().unwrap().success()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
