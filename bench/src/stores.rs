//! Servers of Redis and PostgreSQL that are the bench's own: started with a figure, gone with it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    harness::{Result, clock, cpu_of},
    world::Folder,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// A Redis server of the bench's own, which keeps nothing.
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// `None` if it is not installed.
    pub(crate) fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(program) = program("redis-server") else { return Ok(None) };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program).args(["--bind", "127.0.0.1", "--port"]);
        command.arg(port.to_string()).args(["--save", "", "--appendonly", "no", "--dir"]);
        let child = command.arg(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let (redis, begin) = (Self { child, port }, clock());
        while redis.ask("PING").is_err() {
            if begin.elapsed() > DEADLINE {
                return Err("redis-server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(redis))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its answer to a command: a line, or a text of a given length.
    pub(crate) fn ask(&self, command: &str) -> Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let Some(length) = line.strip_prefix('$') else {
            return if line.starts_with('+') { Ok(line) } else { Err(line.into()) };
        };
        let mut text = vec![0; length.trim().parse()?];
        answer.read_exact(&mut text)?;
        Ok(String::from_utf8(text)?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A PostgreSQL server as it is when nobody has set anything else. It listens on a socket in a folder of its own.
pub(crate) struct Postgres {
    child: Child,
    folder: Folder,
    /// Where it listens on 127.0.0.1, too, if its settings say so.
    pub(crate) port: u16,
}

impl Postgres {
    /// One that listens on 127.0.0.1 and counts statements. `None` if it is not installed.
    pub(crate) fn counting() -> Result<Option<Self>> {
        Self::start(&[
            "listen_addresses=127.0.0.1",
            "max_connections=200",
            "shared_preload_libraries=pg_stat_statements",
        ])
    }

    /// `None` if it is not installed.
    pub(crate) fn start(settings: &[&str]) -> Result<Option<Self>> {
        let (Some(initdb), Some(server)) = (program("initdb"), program("postgres")) else {
            return Ok(None);
        };
        let folder = Folder::within(&std::env::temp_dir())?;
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755))?;
        if is_root() {
            std::os::unix::fs::chown(&folder.0, Some(NOBODY), Some(NOBODY))?;
        }
        let data = folder.0.join("data");
        let mut initdb = unprivileged(&initdb);
        initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--username=symbolon"]);
        if !quiet(initdb.arg("--pgdata").arg(&data)).status()?.success() {
            return Err("initdb failed".into());
        }
        let mut server = unprivileged(&server);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let own = [
            format!("unix_socket_directories={}", folder.0.display()),
            format!("port={port}"),
            "listen_addresses=".to_owned(),
        ];
        for setting in own.iter().map(String::as_str).chain(settings.iter().copied()) {
            server.args(["-c", setting]);
        }
        let child = quiet(server.arg("-D").arg(data)).spawn()?;
        let (postgres, begin) = (Self { child, folder, port }, clock());
        while postgres.ask("SELECT 1").is_err() {
            if begin.elapsed() > DEADLINE {
                return Err("PostgreSQL does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(postgres))
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.folder.0.display().to_string().replace('/', "%2F");
        format!("postgres://symbolon@localhost:{}/postgres?host={socket}", self.port)
    }

    /// The URL of a new database, by its address.
    pub(crate) fn create(&self, database: &str) -> Result<String> {
        // It finds nothing, which is no number.
        let _ = self.ask(&format!("CREATE DATABASE {database}"));
        Ok(format!("postgres://symbolon@127.0.0.1:{}/{database}", self.port))
    }

    /// The CPU time of all its processes so far, those aside that have ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut all = cpu_of(pid)?;
        for child in children.split_whitespace() {
            // It may have ended since.
            all += cpu_of(child.parse()?).unwrap_or_default();
        }
        Ok(all)
    }

    /// The number that a statement finds.
    pub(crate) fn ask(&self, statement: &str) -> Result<u64> {
        Ok(self.text(statement)?.parse()?)
    }

    /// The text that a statement finds.
    pub(crate) fn text(&self, statement: &str) -> Result<String> {
        self.text_in("postgres", statement)
    }

    /// The number that a statement finds in a database.
    pub(crate) fn ask_in(&self, database: &str, statement: &str) -> Result<u64> {
        Ok(self.text_in(database, statement)?.parse()?)
    }

    fn text_in(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = Command::new(program("psql").ok_or("no psql")?);
        psql.args(["-AqtX", "-U", "symbolon", "-d", database, "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-p", &self.port.to_string(), "-c", statement, "-h"])
            .arg(&self.folder.0)
            .stderr(Stdio::null());
        Ok(String::from_utf8(psql.stdin(Stdio::null()).output()?.stdout)?.trim().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It ends its own processes when it is asked to.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.child.wait();
    }
}

const NOBODY: u32 = 65_534;

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

fn quiet(command: &mut Command) -> &mut Command {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Debian keeps those of PostgreSQL apart, one folder per version.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file())
}
