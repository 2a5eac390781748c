//! What goes over the wire to PostgreSQL: a server between a node and the database, which passes everything on and counts.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::Result;

/// What has passed so far.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// How often the database said that it was ready for the next question: after each that a node waited for.
    pub(crate) round_trips: AtomicU64,
    /// Both ways, without what TCP adds.
    pub(crate) bytes: AtomicU64,
}

/// Passes on what comes to a free port, as long as the runtime lives.
pub(crate) async fn tap(database: u16) -> Result<(u16, Arc<Passed>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let passed = Arc::new(Passed::default());
    let counted = Arc::clone(&passed);
    tokio::spawn(async move {
        while let Ok((node, _)) = listener.accept().await {
            tokio::spawn(pass(node, database, Arc::clone(&counted)));
        }
    });
    Ok((port, passed))
}

async fn pass(node: TcpStream, database: u16, passed: Arc<Passed>) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, database));
    let database = TcpStream::connect(address).await?;
    node.set_nodelay(true)?;
    database.set_nodelay(true)?;
    let (mut asks, mut hears) = node.into_split();
    let (mut answers, mut is_asked) = database.into_split();
    let counted = Arc::clone(&passed);
    let asking = async move {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = asks.read(&mut bytes).await?;
            if read == 0 {
                is_asked.shutdown().await?;
                return Result::Ok(());
            }
            counted.bytes.fetch_add(read as u64, Relaxed);
            is_asked.write_all(&bytes[..read]).await?;
        }
    };
    let answering = async move {
        let (mut bytes, mut messages) = (vec![0; 64 << 10], Messages::default());
        loop {
            let read = answers.read(&mut bytes).await?;
            if read == 0 {
                hears.shutdown().await?;
                return Result::Ok(());
            }
            passed.bytes.fetch_add(read as u64, Relaxed);
            passed.round_trips.fetch_add(messages.ready(&bytes[..read]), Relaxed);
            hears.write_all(&bytes[..read]).await?;
        }
    };
    tokio::try_join!(asking, answering).map(drop)
}

/// The messages of a server, cut anywhere: a letter, a length that counts itself, a body.
#[derive(Debug, Default)]
struct Messages {
    head: Vec<u8>,
    body_left: usize,
}

impl Messages {
    /// How many of these say that it is ready.
    fn ready(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        loop {
            let skipped = self.body_left.min(bytes.len());
            bytes = &bytes[skipped..];
            self.body_left -= skipped;
            let taken = (5 - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let [letter, length @ ..] = &self.head[..] else { return count };
            let Ok(length) = <[u8; 4]>::try_from(length) else { return count };
            count += u64::from(*letter == b'Z');
            self.body_left = (u32::from_be_bytes(length) as usize).saturating_sub(4);
            self.head.clear();
        }
    }
}
