//! The real process when its disk or its database fails: it says so, writes nothing by half, and works again by itself
//! where that can be; where it cannot be, it stops.

use std::{
    fs::{self, File},
    io::Write,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use axum::http::{Method, header};
use serde_json::json;
use sqlx::{Connection, Executor, Row, SqliteConnection};

use crate::{
    postgres,
    process::{Answer, DEADLINE, Http, Server, free_port, refused, run},
    store::Folder,
};

const PASSWORD: &str = "correct horse battery staple";

/// A connection of our own to the database, beside the server's.
async fn database(folder: &Path) -> SqliteConnection {
    let url = format!("sqlite:{}", folder.join("symbolon.db").display());
    SqliteConnection::connect(&url).await.unwrap()
}

/// Asks until the answer is there, under the deadline of these tests.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap()
}

/// A login, and a client that keeps data in its session.
struct Login {
    http: Http,
    basic: String,
    sid: String,
    access: String,
    refresh: String,
}

impl Login {
    /// `folder` is where this process finds the server's.
    async fn new(http: &Http, folder: &Path) -> Self {
        run(folder, &["user", "add", "user@example.com"], PASSWORD);
        let add =
            ["client", "add", "shop", "--kind", "confidential", "--audience", "https://a.example"];
        let client = run(folder, &add, "");
        let basic = {
            use base64::{Engine, engine::general_purpose::STANDARD};
            let secret = client["client_secret"].as_str().unwrap();
            format!("Basic {}", STANDARD.encode(format!("shop:{secret}")))
        };
        let answer = login(http).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |name: &str| answer.json[name].as_str().unwrap().to_owned();
        let (sid, access, refresh) = (text("sid"), text("access_token"), text("refresh_token"));
        Self { http: http.clone(), basic, sid, access, refresh }
    }

    async fn refresh(&self) -> Option<Answer> {
        self.http.post("/api/v1/refresh", &[], &json!({ "refresh_token": self.refresh })).await
    }

    async fn logout(&self) -> Option<Answer> {
        self.http.post("/api/v1/logout", &[], &json!({ "refresh_token": self.refresh })).await
    }

    async fn write(&self, cart: u64) -> Option<Answer> {
        let path = format!("/api/v1/sessions/{}/data", self.sid);
        let basic = [("authorization", self.basic.as_str())];
        self.http.send(Method::PATCH, &path, &basic, Some(&json!({ "cart": cart }))).await
    }

    async fn read(&self) -> Option<Answer> {
        let path = format!("/api/v1/sessions/{}/data", self.sid);
        let basic = [("authorization", self.basic.as_str())];
        self.http.send(Method::GET, &path, &basic, None).await
    }

    /// The status of a check of the access token.
    async fn check(&self) -> u16 {
        let bearer = format!("Bearer {}", self.access);
        let headers = [("authorization", bearer.as_str())];
        let answer = self.http.send(Method::GET, "/api/v1/session", &headers, None).await;
        answer.unwrap().status.as_u16()
    }
}

async fn login(http: &Http) -> Option<Answer> {
    let body = json!({ "username": "user@example.com", "password": PASSWORD, "deliver": "token" });
    http.post("/api/v1/login", &[], &body).await
}

/// It is the stable problem that says when to come again.
#[track_caller]
fn assert_not_now(what: &str, answer: Option<Answer>) {
    let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    assert_eq!(answer.json["code"], "unavailable", "{what}: {answer:?}");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{what}");
    let after = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse::<u64>();
    assert!(after.is_ok_and(|seconds| seconds > 0), "{what}: {answer:?}");
}

/// Every act that writes is refused, and none of them does anything; what only reads goes on.
async fn assert_no_write_goes_through(login_before: &Login, cart: u64) {
    let (a, b, c, d) = tokio::join!(
        login(&login_before.http),
        login_before.refresh(),
        login_before.write(cart + 1),
        login_before.logout(),
    );
    for (what, answer) in [("login", a), ("refresh", b), ("data", c), ("logout", d)] {
        assert_not_now(what, answer);
    }
    assert_eq!(login_before.check().await, 200);
    assert_eq!(login_before.read().await.unwrap().json["cart"], cart);
}

/// What was refused did nothing, and can be done now: the same refresh token rotates, the same session ends.
async fn assert_all_goes_through(before: &Login) {
    for (what, status, answer) in [
        ("login", 200, login(&before.http).await),
        ("data", 200, before.write(99).await),
        ("refresh", 200, before.refresh().await),
    ] {
        assert_eq!(answer.unwrap().status, status, "{what}");
    }
    assert_eq!(before.read().await.unwrap().json["cart"], 99);
}

async fn count(connection: &mut SqliteConnection, what: &str) -> i64 {
    let text = format!("SELECT COUNT(*) FROM {what}");
    let query = sqlx::query(sqlx::AssertSqlSafe(text));
    query.fetch_one(connection).await.unwrap().get(0)
}

/// How a disk has no room.
enum NoRoom {
    /// A limit of file sizes: writes fail as they do under a quota.
    Limit { pid: u32 },
    /// A disk of a few megabytes that something else has filled.
    Full { filler: PathBuf },
}

impl NoRoom {
    fn begin(&self, folder: &Path) {
        match self {
            Self::Limit { pid } => {
                let longest = ["symbolon.db", "symbolon.db-wal"]
                    .map(|name| fs::metadata(folder.join(name)).map_or(0, |file| file.len()));
                prlimit(*pid, &longest.into_iter().max().unwrap().to_string());
            }
            Self::Full { filler } => {
                let mut filler = File::create(filler).unwrap();
                while filler.write(&[0; 4096]).is_ok_and(|bytes| bytes > 0) {}
            }
        }
    }

    fn end(&self) {
        match self {
            Self::Limit { pid } => prlimit(*pid, "unlimited"),
            Self::Full { filler } => fs::remove_file(filler).unwrap(),
        }
    }
}

/// Sets the soft limit of file sizes of a running process.
fn prlimit(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

/// `folder` is where this process finds the server's.
async fn survives(no_room: &NoRoom, mut server: Server, folder: &Path) {
    let before = Login::new(&server.http, folder).await;
    assert_eq!(before.write(1).await.unwrap().status, 200);
    let mut logins = 1;
    no_room.begin(folder);
    // What the files still have room for goes through.
    let refused = until(async || {
        let answer = login(&server.http).await;
        logins += i64::from(answer.as_ref().is_some_and(|answer| answer.status == 200));
        answer.filter(|answer| answer.status != 200)
    })
    .await;
    assert_not_now("login", Some(refused));
    assert_no_write_goes_through(&before, 1).await;
    no_room.end();
    assert_all_goes_through(&before).await;
    logins += 1;

    // An open folder outlives the server that mounted it.
    let open = File::open(folder).unwrap();
    server.kill();
    let copy = Folder::new();
    for file in fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd())).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.0.join(file.file_name())).unwrap();
        }
    }
    let mut connection = database(&copy.0).await;
    let check = connection.fetch_one("PRAGMA integrity_check").await.unwrap();
    assert_eq!(check.get::<String, _>(0), "ok");
    assert_eq!(count(&mut connection, "sessions WHERE ended_at IS NULL").await, logins);
    assert_eq!(count(&mut connection, "sessions WHERE ended_at IS NOT NULL").await, 0);
    let server = Server::start(&copy.0, server.port).await;
    let after = Login { http: server.http.clone(), ..before };
    assert_eq!(after.read().await.unwrap().json["cart"], 99);
    assert_eq!(after.check().await, 200);
}

#[tokio::test]
async fn a_quota_refuses_writes_until_there_is_room_again() {
    if postgres::is_asked_for() {
        return;
    }
    let folder = Folder::new();
    // A process that does not ignore the signal is killed by it, whatever it is.
    let by = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let none = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"];
    assert_eq!(refused_start(&none, &folder.0), (1, "disk_full".to_owned()));
    let server = Server::start_by(&by, &folder.0, free_port(), Stdio::null()).await;
    survives(&NoRoom::Limit { pid: server.pid() }, server, &folder.0).await;
}

/// In a small file system of the server's own, where the kernel lets everybody make one.
#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room_again() {
    if postgres::is_asked_for() {
        return;
    }
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let may = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("not run: this kernel has no user namespaces; a quota takes the same walk");
        return;
    }
    let folder = Folder::new();
    let path = folder.0.to_str().unwrap();
    let mount = "mount -t tmpfs -o size=8m,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let by = [&unshare[..], &["sh", "-c", mount, path]].concat();
    let server = Server::start_by(&by, &folder.0, free_port(), Stdio::null()).await;
    let inside = PathBuf::from(format!("/proc/{}/root{path}", server.pid()));
    survives(&NoRoom::Full { filler: inside.join("filler") }, server, &inside).await;
}

#[tokio::test]
async fn a_locked_database_refuses_writes_until_it_is_free() {
    if postgres::is_asked_for() {
        return;
    }
    let folder = Folder::new();
    let server = Server::start(&folder.0, free_port()).await;
    let before = Login::new(&server.http, &folder.0).await;
    assert_eq!(before.write(1).await.unwrap().status, 200);
    let mut locker = database(&folder.0).await;
    until(async || locker.execute("BEGIN EXCLUSIVE").await.ok()).await;
    assert_no_write_goes_through(&before, 1).await;
    locker.execute("ROLLBACK").await.unwrap();
    assert_eq!(count(&mut locker, "sessions WHERE ended_at IS NULL").await, 1);
    assert_all_goes_through(&before).await;
}

/// Moves everything from the write-ahead log into the file, and makes the server forget the pages that it knows.
async fn settle(folder: &Path) {
    let mut connection = database(folder).await;
    until(async || connection.execute("UPDATE users SET roles = roles").await.ok()).await;
    until(async || {
        let row = connection.fetch_one("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        (row.get::<i64, _>(0) == 0).then_some(())
    })
    .await;
}

/// Overwrites all of a file but its first `kept` bytes.
fn overwrite(path: &Path, kept: u64) {
    let file = File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len() - kept;
    file.write_all_at(&vec![0xA5; usize::try_from(length).unwrap()], kept).unwrap();
}

/// The exit code and the stable code of a server that does not start.
fn refused_start(by: &[&str], folder: &Path) -> (i32, String) {
    let port = free_port().to_string();
    refused(
        by,
        folder,
        &["dev", "--no-demo", "--port", &port, "--data-dir", folder.to_str().unwrap()],
    )
}

#[tokio::test]
async fn a_database_that_is_damaged_under_the_server_stops_it() {
    if postgres::is_asked_for() {
        return;
    }
    // Who meets the damage first: a load for a request, or the writer.
    let data = "/api/v1/sessions/{sid}/data";
    for (first, kept) in [(data, 0), (data, 4096), ("/readyz", 0)] {
        let folder = Folder::new();
        let log = folder.0.join("stderr");
        let stderr = Stdio::from(File::create(&log).unwrap());
        let mut server = Server::start_by(&[], &folder.0, free_port(), stderr).await;
        let before = Login::new(&server.http, &folder.0).await;
        assert_eq!(before.write(1).await.unwrap().status, 200);
        settle(&folder.0).await;
        overwrite(&folder.0.join("symbolon.db"), kept);
        let path = first.replace("{sid}", &before.sid);
        let basic = [("authorization", before.basic.as_str())];
        let status: ExitStatus = until(async || {
            let answer = before.http.send(Method::GET, &path, &basic, None).await;
            let answer = answer.map(|answer| answer.status.as_u16());
            assert!(matches!(answer, None | Some(503)), "{first} {kept}: {answer:?}");
            server.stopped()
        })
        .await;
        assert_eq!(status.code(), Some(1), "{first} {kept}");
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("the store is damaged"), "{said}");
        assert!(said.contains("store_broken"), "{said}");
        let again = refused_start(&[], &folder.0);
        assert_eq!(again, (1, "database_damaged".to_owned()), "{first} {kept}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_refused_at_start() {
    if postgres::is_asked_for() {
        return;
    }
    let made = Folder::new();
    run(&made.0, &["user", "add", "user@example.com"], PASSWORD);
    settle(&made.0).await;
    let good = fs::read(made.0.join("symbolon.db")).unwrap();
    let newer = async |path: &Path| {
        let mut connection = database(path.parent().unwrap()).await;
        connection.execute("INSERT INTO schema_versions VALUES (999, 999)").await.unwrap();
        connection.close().await.unwrap();
    };
    for (what, code) in [
        ("no database", "database_damaged"),
        ("pages overwritten", "database_damaged"),
        ("cut short", "database_damaged"),
        ("newer", "database_newer"),
    ] {
        let folder = Folder::new();
        fs::copy(made.0.join("master.key"), folder.0.join("master.key")).unwrap();
        let path = folder.0.join("symbolon.db");
        fs::write(&path, &good).unwrap();
        match what {
            "no database" => overwrite(&path, 0),
            "pages overwritten" => overwrite(&path, 4096),
            "cut short" => File::options().write(true).open(&path).unwrap().set_len(8192).unwrap(),
            _ => newer(&path).await,
        }
        let bytes = fs::read(&path).unwrap();
        assert_eq!(refused_start(&[], &folder.0), (1, code.to_owned()), "{what}");
        assert_eq!(refused(&[], &folder.0, &["user", "list"]), (1, code.to_owned()), "{what}");
        assert!(fs::read(&path).unwrap() == bytes, "{what}: the file is as it was");
    }
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_not_called_damaged() {
    if postgres::is_asked_for() {
        return;
    }
    let folder = Folder::new();
    run(&folder.0, &["user", "add", "user@example.com"], PASSWORD);
    let mut locker = database(&folder.0).await;
    locker.execute("PRAGMA locking_mode = EXCLUSIVE").await.unwrap();
    locker.execute("BEGIN EXCLUSIVE").await.unwrap();
    let started = tokio::task::spawn_blocking({
        let folder = folder.0.clone();
        move || refused_start(&[], &folder)
    });
    assert_eq!(started.await.unwrap(), (1, "database_locked".to_owned()));
    locker.execute("ROLLBACK").await.unwrap();
}
