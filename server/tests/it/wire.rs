//! A wire between a follower and the server that can be faulty: bytes are cut off, lost, held back or late.

use std::{convert::Infallible, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What is wrong with the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Connections break, and new ones as well.
    Cut,
    /// Nothing gets through in either direction, and nobody is told. Connections that lost something break afterwards.
    Lost,
    /// Questions get through; their answers do when the fault is over.
    AnswersHeld,
    /// Answers are late by this.
    AnswersLate(Duration),
}

/// Connections to it go on to the server.
pub(crate) struct Wire {
    pub(crate) port: u16,
    fault: watch::Sender<Fault>,
    held: watch::Sender<usize>,
}

/// What both directions of a connection know of the wire.
#[derive(Clone)]
struct Seen {
    fault: watch::Receiver<Fault>,
    held: watch::Sender<usize>,
}

impl Wire {
    /// A wire to this port of 127.0.0.1. Its task ends with the runtime.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (fault, held) = (watch::Sender::new(Fault::None), watch::Sender::new(0));
        tokio::spawn(carry(
            listener,
            server,
            Seen { fault: fault.subscribe(), held: held.clone() },
        ));
        Self { port, fault, held }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.held.send_replace(0);
        self.fault.send_replace(fault);
    }

    /// Waits until so many answers are held back.
    pub(crate) async fn holds(&self, answers: usize) {
        self.held.subscribe().wait_for(|held| *held >= answers).await.unwrap();
    }
}

async fn carry(listener: TcpListener, server: u16, seen: Seen) -> Infallible {
    loop {
        let (follower, _) = listener.accept().await.unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
            let ((questions, to_follower), (answers, to_server)) =
                (follower.into_split(), server.into_split());
            // When one direction is over, so is the other.
            tokio::select! {
                () = pump(questions, to_server, false, seen.clone()) => {}
                () = pump(answers, to_follower, true, seen) => {}
            }
        });
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: bool, mut seen: Seen) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            _ = seen.fault.wait_for(|fault| *fault == Fault::Cut) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { return };
        let fault = *seen.fault.borrow_and_update();
        match fault {
            Fault::Cut => return,
            Fault::Lost => {
                let _ = seen.fault.wait_for(|fault| *fault != Fault::Lost).await;
                return;
            }
            Fault::AnswersHeld if answers => {
                seen.held.send_modify(|held| *held += 1);
                let _ = seen.fault.wait_for(|fault| *fault != Fault::AnswersHeld).await;
            }
            Fault::AnswersLate(by) if answers => tokio::time::sleep(by).await,
            Fault::None | Fault::AnswersHeld | Fault::AnswersLate(_) => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
