//! The real binary: how soon it answers, and what it weighs when nobody asks anything.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    harness::{Result, Rounds, clock, resident_bytes},
    table::{Row, Table},
    world::Folder,
};

const ROUNDS: usize = 7;
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts of `dev` on nothing and of `serve` on what is there.
pub(crate) fn start(table: &mut Table) -> Result<()> {
    let binary = build()?;
    let [mut dev, mut serve, mut idle] = [Rounds::default(), Rounds::default(), Rounds::default()];
    for _ in 0..ROUNDS {
        let folder = Folder::new()?;
        let data = folder.0.join("data");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = command(&binary, &data, port);
        let (_, secs) = Server::start(command.args(["dev", "--no-demo"]), port)?;
        dev.push(secs);
        let (server, secs) = Server::start(self::command(&binary, &data, port).arg("serve"), port)?;
        serve.push(secs);
        std::thread::sleep(Duration::from_secs(1));
        idle.push(resident_bytes(&server.0.id().to_string())? as f64 / 1e6);
    }
    let how = "from the start of the release binary to a 200 on `/healthz`, asked anew every millisecond; 7 starts, each `dev` on an empty folder, then `serve` on what it left";
    for (figure, measured, budget) in [
        ("first answer of `dev --no-demo` on an empty folder", &dev, "≤ 0.3 s"),
        ("first answer of `serve` on existing data", &serve, "≤ 0.1 s"),
    ] {
        table.row(&Row { figure, measured: format!("{} ms", measured.times(1e3)), budget, how })?;
    }
    table.row(&Row {
        figure: "memory of an idle server",
        measured: format!("{idle} MB"),
        budget: "≤ 25 MB",
        how: "VmRSS of that `serve` one second after its first answer",
    })?;
    Ok(())
}

/// Builds the binary with the cargo that runs us, or takes the one beside us.
pub(crate) fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    // As this one was built.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let built = Command::new(cargo)
        // Both, so that they share what they are made of.
        .args(["build", "--profile", profile, "--quiet", "-p", "symbolon", "-p", "symbolon-bench"])
        .arg("--manifest-path")
        .arg(manifest)
        .status()?;
    if !built.success() {
        return Err("symbolon was not built".into());
    }
    Ok(std::env::current_exe()?.with_file_name("symbolon"))
}

pub(crate) fn command(binary: &Path, data: &Path, port: u16) -> Command {
    let mut command = Command::new(binary);
    for setting in [
        format!("data_dir={}", data.display()),
        format!("public_url=http://localhost:{port}"),
        format!("listen.address=127.0.0.1:{port}"),
    ] {
        command.args(["--set", &setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A running server, killed with its value.
pub(crate) struct Server(pub(crate) Child);

impl Server {
    /// Starts it and waits for its first answer. Returns the seconds that took.
    pub(crate) fn start(command: &mut Command, port: u16) -> Result<(Self, f64)> {
        let begin = clock();
        let mut server = Self(command.spawn()?);
        while !is_healthy(port) {
            if let Some(status) = server.0.try_wait()? {
                return Err(format!("the server stopped: {status}: {command:?}").into());
            }
            if begin.elapsed() > DEADLINE {
                return Err("the server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((server, begin.elapsed().as_secs_f64()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_healthy(port: u16) -> bool {
    let mut answer = String::new();
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200")
}
