//! A real PostgreSQL server with data of its own. It listens on a socket in a folder of its own and ends with this
//! process, however that ends.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder of this test, gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self::in_folder(&std::env::temp_dir())
    }

    /// Where nothing waits for a disk, if there is such a place: for tests of what requests do to each other.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::in_folder(memory) } else { Self::new() }
    }

    fn in_folder(parent: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("guard-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Postgres {
    folder: Folder,
    /// A shell that ends the server when its input is closed.
    keeper: Option<Child>,
    settings: &'static [&'static str],
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
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Debian keeps them apart, one folder per version.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file())
}

impl Postgres {
    /// Makes a server with these settings and starts it. Without PostgreSQL it says so, which is a failure where `CI` is
    /// set.
    pub(crate) fn start(settings: &'static [&'static str]) -> Option<Self> {
        Self::start_in(Folder::new(), settings)
    }

    /// One that keeps nothing and so waits for nothing.
    pub(crate) fn start_in_memory() -> Option<Self> {
        const SETTINGS: &[&str] = &["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
        Self::start_in(Folder::in_memory(), SETTINGS)
    }

    fn start_in(folder: Folder, settings: &'static [&'static str]) -> Option<Self> {
        let Some(initdb) = program("initdb") else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed");
            println!("skipped, because PostgreSQL is not installed");
            return None;
        };
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&folder.0, Some(65534), Some(65534)).unwrap();
        }
        let made = unprivileged(&initdb)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--username=symbolon", "--pgdata"])
            .arg(folder.0.join("data"))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, keeper: None, settings };
        server.run();
        Some(server)
    }

    /// Starts it, again, and waits until it answers.
    pub(crate) fn run(&mut self) {
        let script = "\"$@\" & server=$!; cat >/dev/null; kill -INT $server; wait $server";
        let server = unprivileged(&program("postgres").unwrap());
        let mut keeper = Command::new("sh");
        keeper.args(["-c", script, "keeper"]).arg(server.get_program()).args(server.get_args());
        keeper.arg("-D").arg(self.folder.0.join("data"));
        let socket = format!("unix_socket_directories={}", self.folder.0.display());
        for setting in ["listen_addresses=", &socket].iter().chain(self.settings) {
            keeper.args(["-c", setting]);
        }
        let log = fs::File::create(self.folder.0.join("log")).unwrap();
        let keeper = keeper.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null());
        self.keeper = Some(keeper.stderr(log).spawn().unwrap());
        while !self.answers("SELECT 1") {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let ended = self.keeper.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{:?}", fs::read_to_string(self.folder.0.join("log")));
        }
    }

    /// Ends it and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// Ends it as a failing machine would, but for what the operating system keeps.
    pub(crate) fn kill(&mut self) {
        let file = fs::read_to_string(self.folder.0.join("data/postmaster.pid")).unwrap();
        let server = file.lines().next().unwrap().to_owned();
        let child_of_server = |id: &String| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // After the name, which may hold anything: the state and the parent.
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            parent == Some(&*server)
        };
        let ids = fs::read_dir("/proc").unwrap().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().into_string().ok());
        let children: Vec<String> = ids.filter(child_of_server).collect();
        // Nobody is left to finish anything.
        let mut kill = Command::new("kill");
        kill.args(["-s", "KILL", &server]).args(&children).stderr(Stdio::null());
        let _ = kill.status().unwrap();
        self.stop();
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.folder.0.display().to_string().replace('/', "%2F");
        format!("postgres://symbolon@localhost/postgres?host={socket}")
    }

    /// Runs a statement.
    pub(crate) fn sql(&self, text: &str) {
        assert!(self.answers(text), "{text}");
    }

    fn answers(&self, text: &str) -> bool {
        let mut psql = Command::new(program("psql").unwrap());
        psql.args(["-qX", "-U", "symbolon", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", text]);
        psql.arg("-h").arg(&self.folder.0);
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        psql.status().unwrap().success()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}
