//! Counting the connections to a socket, so that a short-lived command does not leave while others work through it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream, unix};
use tokio::sync::watch;

/// How many connections there are.
#[derive(Clone, Debug)]
pub(crate) struct Guests(watch::Sender<usize>);

impl Default for Guests {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Guests {
    /// Ends once there are none.
    pub(crate) async fn all_gone(&self) {
        // It can only fail when this very sender is gone.
        drop(self.0.subscribe().wait_for(|guests| *guests == 0).await);
    }

    fn enter(&self) -> Stay {
        self.0.send_modify(|guests| *guests = guests.saturating_add(1));
        Stay(self.clone())
    }
}

#[derive(Debug)]
struct Stay(Guests);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.0.send_modify(|guests| *guests = guests.saturating_sub(1));
    }
}

/// A listener that counts its connections.
#[derive(Debug)]
pub(crate) struct Welcoming {
    listener: UnixListener,
    guests: Guests,
}

impl Welcoming {
    /// Counts the connections of a listener.
    pub(crate) const fn new(listener: UnixListener, guests: Guests) -> Self {
        Self { listener, guests }
    }
}

impl Listener for Welcoming {
    type Io = Guest;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (Guest, unix::SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Guest { stream, _stay: self.guests.enter() }, address)
    }

    fn local_addr(&self) -> io::Result<unix::SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is counted until it ends.
#[derive(Debug)]
pub(crate) struct Guest {
    stream: UnixStream,
    _stay: Stay,
}

/// Which user of the machine is at the other end; `None`: the machine does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User(pub(crate) Option<u32>);

impl Connected<IncomingStream<'_, Welcoming>> for User {
    fn connect_info(stream: IncomingStream<'_, Welcoming>) -> Self {
        Self(stream.io().stream.peer_cred().ok().map(|user| user.uid()))
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
}
