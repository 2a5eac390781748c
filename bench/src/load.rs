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

/// What to send. Every request has a connection of its own, on which it is repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) for_ms: u64,
    /// How long a connection rests between two requests.
    pub(crate) pause_ms: u64,
    pub(crate) requests: Vec<String>,
    /// In every request, this is replaced by the `refresh_token` of the last answer.
    pub(crate) refresh: Option<Vec<String>>,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) answers: u64,
    pub(crate) secs: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The refresh tokens to go on with.
    pub(crate) tokens: Vec<String>,
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

async fn run(job: &Job) -> Result<Done> {
    let mut connections = Vec::new();
    for (number, request) in job.requests.iter().enumerate() {
        let stream = TcpStream::connect(job.address).await?;
        stream.set_nodelay(true)?;
        let token = job.refresh.as_ref().and_then(|tokens| tokens.get(number)).cloned();
        let connection =
            Connection { stream, request: request.clone(), token, bytes: vec![0; 16 << 10] };
        connections.push(connection);
    }
    let begin = clock();
    let (until, pause) =
        (begin + Duration::from_millis(job.for_ms), Duration::from_millis(job.pause_ms));
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            tokio::spawn(async move {
                let mut micros = Vec::new();
                while clock() < until {
                    let asked = clock();
                    connection.exchange().await?;
                    micros.push(asked.elapsed().as_secs_f64() * 1e6);
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
                Result::Ok((micros, connection.token))
            })
        })
        .collect();
    let (mut done, mut latencies) = (Done::default(), Rounds::default());
    for task in tasks {
        let (micros, token) = task.await??;
        done.answers += micros.len() as u64;
        micros.into_iter().for_each(|one| latencies.push(one));
        done.tokens.extend(token);
    }
    done.secs = begin.elapsed().as_secs_f64();
    (done.p50_us, done.p99_us) = (latencies.at(0.5), latencies.at(0.99));
    Ok(done)
}

struct Connection {
    stream: TcpStream,
    request: String,
    token: Option<String>,
    bytes: Vec<u8>,
}

impl Connection {
    async fn exchange(&mut self) -> Result<()> {
        match &self.token {
            None => self.stream.write_all(self.request.as_bytes()).await?,
            Some(token) => {
                let body = format!(r#"{{"refresh_token":"{token}"}}"#);
                let length = body.len();
                let request = format!("{}content-length: {length}\r\n\r\n{body}", self.request);
                self.stream.write_all(request.as_bytes()).await?;
            }
        }
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.bytes[filled..]).await?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            filled += read;
            if let Some(body) = body(&self.bytes[..filled])? {
                if self.token.is_some() {
                    self.token = Some(next_token(body)?);
                }
                return Ok(());
            }
        }
    }
}

/// The body of an answer, when all of it is there. Anything but 200 is an error.
pub(crate) fn body(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = (std::str::from_utf8(&bytes[..head])?, &bytes[head + 4..]);
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("{head}\n{}", String::from_utf8_lossy(body)).into());
    }
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.ok_or("no content-length")?.parse()?;
    Ok(body.get(..length))
}

fn next_token(body: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        refresh_token: String,
    }
    Ok(serde_json::from_slice::<Answer>(body)?.refresh_token)
}
