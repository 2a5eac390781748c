//! The load: a process of its own on a core of its own. It sends prepared bytes and reads answers, does so little else
//! that the server is what limits the rate, and never sleeps.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Result, Rounds, clock, pin};

/// What to send. Every walk has a connection of its own, on which it is repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) for_ms: u64,
    /// Whether each walk is gone once, however long that takes.
    pub(crate) once: bool,
    /// How long a connection rests between two walks.
    pub(crate) pause_ms: u64,
    pub(crate) walks: Vec<Walk>,
    /// The process whose CPU time counts, if it is not the one that measures.
    pub(crate) process: Option<u32>,
}

/// Requests one after the other, of which each may need something from the answer before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Walk {
    pub(crate) steps: Vec<Step>,
    /// What was taken from the last answer.
    pub(crate) taken: String,
}

/// One request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The request line and the headers, each with its end of line; the length of the body is added.
    pub(crate) head: String,
    /// In it, and in the head, `{}` is replaced by what was taken.
    pub(crate) body: String,
    /// What stands before the text that is taken from the answer. The text ends where a value of JSON or of a query ends.
    pub(crate) take_after: Option<String>,
}

impl Step {
    /// A request without a body.
    pub(crate) const fn get(head: String) -> Self {
        Self { head, body: String::new(), take_after: None }
    }

    /// A form.
    pub(crate) fn form(path: &str, headers: &str, body: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost:8080\r\n\
             content-type: application/x-www-form-urlencoded\r\n{headers}"
        );
        Self { head, body: body.to_owned(), take_after: None }
    }

    /// From its answer, the text after this is taken.
    pub(crate) fn taking(self, after: &str) -> Self {
        Self { take_after: Some(after.to_owned()), ..self }
    }

    pub(crate) fn write(&self, taken: &str) -> String {
        let body = self.body.replacen("{}", taken, 1);
        let length = body.len();
        // What carries no body says nothing of its length.
        let length =
            if length > 0 { format!("content-length: {length}\r\n") } else { String::new() };
        format!("{}{length}\r\n{body}", self.head.replacen("{}", taken, 1))
    }

    fn take(&self, answer: &[u8], taken: &mut String) -> Result<()> {
        let Some(after) = &self.take_after else { return Ok(()) };
        let answer = std::str::from_utf8(answer)?;
        let (_, rest) = answer.split_once(after).ok_or_else(|| format!("no {after}: {answer}"))?;
        let end = rest.find(['"', '&', '\r']).ok_or("no end")?;
        rest[..end].clone_into(taken);
        Ok(())
    }
}

impl From<Step> for Walk {
    fn from(step: Step) -> Self {
        Self { steps: vec![step], taken: String::new() }
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) answers: u64,
    pub(crate) secs: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// What was taken from the last answer of each walk, to go on with.
    pub(crate) taken: Vec<String>,
}

/// The process.
pub(crate) struct Load {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Load {
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, input, output })
    }

    /// Runs a job to its end.
    pub(crate) fn run(&mut self, job: &Job) -> Result<Done> {
        writeln!(self.input, "{}", serde_json::to_string(job)?)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str::<std::result::Result<Done, String>>(&line)??)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process's side: a job per line in, a result per line out.
pub(crate) fn serve() -> Result<()> {
    pin(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut output = std::io::stdout();
    for line in std::io::stdin().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let done = runtime.block_on(async {
            tokio::select! {
                done = run(&job) => done,
                never = stay_awake() => match never {},
            }
        });
        let done = done.map_err(|error| error.to_string());
        writeln!(output, "{}", serde_json::to_string(&done)?)?;
    }
    Ok(())
}

/// Waking somebody who sleeps on this machine costs the server more than an answer costs it on the network, and a server
/// that is a little slower, and so lets the load fall asleep, would pay that more often.
async fn stay_awake() -> std::convert::Infallible {
    loop {
        tokio::task::yield_now().await;
    }
}

/// The same without a process of its own.
pub(crate) async fn run(job: &Job) -> Result<Done> {
    let mut connections = Vec::new();
    for walk in &job.walks {
        let stream = TcpStream::connect(job.address).await?;
        stream.set_nodelay(true)?;
        connections.push(Connection { stream, walk: walk.clone(), bytes: vec![0; 16 << 10] });
    }
    let begin = clock();
    let (until, pause) =
        (begin + Duration::from_millis(job.for_ms), Duration::from_millis(job.pause_ms));
    let once = job.once;
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            tokio::spawn(async move {
                let mut micros = Vec::new();
                while once || clock() < until {
                    let asked = clock();
                    connection.walk().await?;
                    micros.push(asked.elapsed().as_secs_f64() * 1e6);
                    if once {
                        break;
                    }
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
                Result::Ok((micros, connection.walk.taken))
            })
        })
        .collect();
    let (mut done, mut latencies) = (Done::default(), Rounds::default());
    for task in tasks {
        let (micros, taken) = task.await??;
        done.answers += micros.len() as u64;
        micros.into_iter().for_each(|one| latencies.push(one));
        done.taken.push(taken);
    }
    done.secs = begin.elapsed().as_secs_f64();
    (done.p50_us, done.p99_us) = (latencies.at(0.5), latencies.at(0.99));
    Ok(done)
}

struct Connection {
    stream: TcpStream,
    walk: Walk,
    bytes: Vec<u8>,
}

impl Connection {
    async fn walk(&mut self) -> Result<()> {
        for step in &self.walk.steps {
            let request = step.write(&self.walk.taken);
            self.stream.write_all(request.as_bytes()).await?;
            let length = read(&mut self.stream, &mut self.bytes).await?;
            step.take(&self.bytes[..length], &mut self.walk.taken)?;
        }
        Ok(())
    }
}

/// Reads one answer. Returns how long it is.
async fn read(stream: &mut TcpStream, bytes: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut bytes[filled..]).await?;
        if read == 0 {
            return Err("the server closed the connection".into());
        }
        filled += read;
        if body(&bytes[..filled])?.is_some() {
            return Ok(filled);
        }
    }
}

/// The body of an answer, when all of it is there. Anything but success is an error.
pub(crate) fn body(bytes: &[u8]) -> Result<Option<&[u8]>> {
    const LENGTH: &str = "content-length: ";
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    // An answer without a body has no length, either.
    if bytes.starts_with(b"HTTP/1.1 204") {
        return Ok(Some(&[]));
    }
    let (head, body) = (std::str::from_utf8(&bytes[..head])?, &bytes[head + 4..]);
    if !head.starts_with("HTTP/1.1 200") && !head.starts_with("HTTP/1.1 303") {
        return Err(format!("{head}\n{}", String::from_utf8_lossy(body)).into());
    }
    let named = |line: &&str| {
        line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH))
    };
    let length = head.split("\r\n").find(named).ok_or("no content-length")?;
    Ok(body.get(..length[LENGTH.len()..].parse()?))
}
