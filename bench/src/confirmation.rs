//! How long a confirmed end takes on one node and on three, with guards that follow spread over them, and with one that is
//! cut off.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    crowd::{Connection, Crowd, now},
    fleet::{Fleet, Login, is_confirmed, logins, versions},
    harness::{Result, Rounds},
    revocation,
    stores::Postgres,
    table::{Row, Table},
    world::World,
};

const FOLLOWERS: usize = 100;
const ENDS: usize = if cfg!(debug_assertions) { 20 } else { 300 };
const CUT_OFF: usize = 5;
/// With one of five lengths, so that ends do not fall into step with renewals.
const PAUSES_MS: [u64; 5] = [3, 7, 11, 13, 17];
const LEASE: Duration = Duration::from_secs(1);

/// The figure.
pub(crate) fn confirmation(table: &mut Table) -> Result<()> {
    let Some(postgres) = Postgres::counting()? else {
        let measured = "PostgreSQL is not installed".to_owned();
        table.row(&Row { figure: "confirmed ends at nodes", measured, budget: "", how: "" })?;
        return Ok(());
    };
    table.begin(
        &format!("Confirmed ends at nodes of one database: {}.", versions(Some(&postgres))?),
        &["nodes", "guards that follow", "p50", "p99", "longest", "one guard more, cut off"],
    )?;
    let mut first: Option<Rounds> = None;
    for (nodes, followers) in [(1, 0), (1, FOLLOWERS), (3, 0), (3, FOLLOWERS)] {
        let (took, cut_off) = measure(&postgres, nodes, followers)?;
        let first = first.get_or_insert_with(|| took.clone());
        let at = |share: f64| {
            format!("{:.1} ms ({:.1} ×)", took.at(share), took.at(share) / first.at(share))
        };
        let cut_off = match &cut_off {
            Some(waited) => {
                let of_lease = waited.at(1.0) / (LEASE.as_secs_f64() * 1e3);
                format!("{waited} ms, at most {:.0} % of the lease", of_lease * 100.0)
            }
            None => String::new(),
        };
        let (nodes, followers) = (nodes.to_string(), followers.to_string());
        table.line(&[&nodes, &followers, &at(0.5), &at(0.99), &at(1.0), &cut_off])?;
    }
    table.end()?;
    Ok(())
}

/// Milliseconds of ends; and of those that wait for a guard which is cut off, where there are guards.
fn measure(
    postgres: &Postgres,
    nodes: usize,
    followers: usize,
) -> Result<(Rounds, Option<Rounds>)> {
    let url = postgres.create(&format!("confirmation{nodes}_{followers}"))?;
    let world = World::at(Some(&url), &[])?;
    let secret = world.add_resource_server()?;
    let mut logins = logins(&world, ENDS + CUT_OFF + 1, "session")?;
    let fleet = Fleet::start(world.close(), Some(&url), nodes, &[])?;
    let _guards = Guards::start(&fleet.addresses, &secret, followers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(fleet.addresses[0]).await?;
        // Shortly after a start, those of before are waited for.
        end(&mut connection, logins.pop()).await?;
        let mut took = Rounds::default();
        for pause in PAUSES_MS.into_iter().cycle().take(ENDS) {
            took.push(end(&mut connection, logins.pop()).await?);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if followers == 0 {
            return Ok((took, None));
        }
        let mut waited = Rounds::default();
        let last = *fleet.addresses.last().ok_or("no node")?;
        for _ in 0..CUT_OFF {
            let mut silent = Crowd::empty().asking(last, &secret).await?;
            silent.ask().await?;
            waited.push(end(&mut connection, logins.pop()).await?);
        }
        Ok((took, Some(waited)))
    })
}

/// Ends a login and waits until that is confirmed. Says how many milliseconds it took.
async fn end(connection: &mut Connection, login: Option<Login>) -> Result<f64> {
    let login = login.ok_or("no more logins")?;
    let request = login.end("?confirm=20s").write("");
    let began = now();
    let answer = connection.ask(&request).await?;
    let took = now().since(began).as_secs_f64() * 1e3;
    if is_confirmed(answer) { Ok(took) } else { Err("an end was not confirmed".into()) }
}

/// Guards that follow, in a process of their own, one node after the other.
struct Guards(Option<Child>);

impl Guards {
    fn start(nodes: &[SocketAddr], secret: &str, count: usize) -> Result<Self> {
        if count == 0 {
            return Ok(Self(None));
        }
        let mut child = Command::new(std::env::current_exe()?)
            .arg("guard")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let job = serde_json::to_string(&(nodes, secret, count))?;
        // It ends when its input does.
        writeln!(child.stdin.as_mut().ok_or("no stdin")?, "{job}")?;
        let mut ready = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut ready)?;
        if ready.trim() == "ready" { Ok(Self(Some(child))) } else { Err("no guards".into()) }
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The side of that process.
pub(crate) fn guard() -> Result<()> {
    let mut lines = std::io::stdin().lines();
    let line = lines.next().ok_or("no line")??;
    let (nodes, secret, count): (Vec<SocketAddr>, String, usize) = serde_json::from_str(&line)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let nodes = nodes.iter().cycle().take(count);
    let guards = nodes.map(|node| revocation::guard(&runtime, node, &secret));
    let guards = guards.collect::<Result<Vec<_>>>()?;
    writeln!(std::io::stdout(), "ready")?;
    lines.for_each(drop);
    drop(guards);
    Ok(())
}
