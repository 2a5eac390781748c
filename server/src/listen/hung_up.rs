//! Noticing at once that a client has hung up.
//!
//! Hyper looks for that whenever it polls a request that it has in hand, and drops the request. But it learns of it only when
//! the reactor has, some turns later, and an act may have been done by then: one that waited in front of a process that was
//! stopped, and that its sender has meanwhile done elsewhere. So whoever must know asks the system.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection that is read past the reactor when that is wanted.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    wanted: Arc<AtomicBool>,
}

impl Watched {
    /// The connection, and how to want it.
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<AtomicBool>) {
        let wanted = Arc::new(AtomicBool::new(false));
        (Self { stream, wanted: Arc::clone(&wanted) }, wanted)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() || !self.wanted.swap(false, Ordering::Acquire) {
            return read;
        }
        // Nothing is there as far as the reactor knows, and it wakes this task when it knows better.
        match recv(&self.stream, buffer.initialize_unfilled(), RecvFlags::DONTWAIT) {
            Ok((bytes, _)) => {
                buffer.advance(bytes);
                Poll::Ready(Ok(()))
            }
            Err(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
