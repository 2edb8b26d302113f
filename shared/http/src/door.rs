//! Connections over TCP: where they come from, and how long they may be silent.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};

use crate::origin::Origin;

/// How long a connection may send and take nothing while no request of it is worked on: before it has asked anything, in the
/// middle of that, and after it. A body has limits of its own.
pub const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A listener whose connections say where they come from, keep no small answer back, and end when they are silent for long.
#[derive(Debug)]
pub struct TcpDoor {
    listener: TcpListener,
    silence: Duration,
}

impl TcpDoor {
    /// A door whose connections may be silent for so long, say [`SILENCE_MAX`].
    pub const fn new(listener: TcpListener, silence: Duration) -> Self {
        Self { listener, silence }
    }
}

impl Listener for TcpDoor {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps small answers back");
        }
        (Guest::new(stream, self.silence), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) origin: Origin,
    busy: Busy,
}

impl Connection {
    /// Requests that are worked on, as long as what this returns is held: meanwhile the connection may be silent.
    pub(crate) fn works(&self) -> Working {
        self.busy.0.fetch_add(1, Ordering::Relaxed);
        Working(self.busy.clone())
    }
}

impl Connected<IncomingStream<'_, TcpDoor>> for Connection {
    fn connect_info(stream: IncomingStream<'_, TcpDoor>) -> Self {
        let origin = Origin(stream.remote_addr().ip().to_string().into());
        Self { origin, busy: stream.io().busy.clone() }
    }
}

/// How many requests of a connection are worked on.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<AtomicUsize>);

/// A request that is worked on.
pub(crate) struct Working(Busy);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that ends when it is silent for long. Its timer is set once for each stretch of that length, and not with every
/// read, which would cost each request more than its key does.
#[derive(Debug)]
pub struct Guest {
    stream: TcpStream,
    silence: Duration,
    moved: Instant,
    timer: Pin<Box<Sleep>>,
    busy: Busy,
}

impl Guest {
    fn new(stream: TcpStream, silence: Duration) -> Self {
        let (moved, timer) = (Instant::now(), Box::pin(sleep(silence)));
        Self { stream, silence, moved, timer, busy: Busy::default() }
    }

    /// Notes what was taken; whoever takes nothing for too long is let go of.
    fn note_write(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.moved = Instant::now();
            return written;
        }
        self.poll_silence(context).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }

    /// Ready once it has been silent for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let since = if self.busy.0.load(Ordering::Relaxed) > 0 { Instant::now() } else { self.moved };
            let ends = since.checked_add(self.silence).unwrap_or(since);
            if ends <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(ends);
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.moved = Instant::now();
            return read;
        }
        self.poll_silence(context).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note_write(written, context)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    async fn read(guest: &mut Guest) -> io::Result<usize> {
        let mut bytes = [0; 8];
        let mut into = ReadBuf::new(&mut bytes);
        poll_fn(|context| Pin::new(&mut *guest).poll_read(context, &mut into)).await?;
        Ok(into.filled().len())
    }

    #[tokio::test]
    async fn a_connection_may_be_silent_while_its_request_is_worked_on() -> io::Result<()> {
        const SILENCE: Duration = Duration::from_millis(100);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let other = TcpStream::connect(listener.local_addr()?).await?;
        let mut guest = Guest::new(listener.accept().await?.0, SILENCE);
        let connection = Connection { origin: Origin("here".into()), busy: guest.busy.clone() };
        let working = [connection.works(), connection.works()];
        assert!(timeout(SILENCE * 5, read(&mut guest)).await.is_err(), "it was let go of while it waits for an answer");
        other.try_write(b"abc")?;
        assert_eq!(read(&mut guest).await?, 3);
        drop(working);
        let ended = timeout(SILENCE * 20, read(&mut guest)).await.map_err(io::Error::other)?;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        Ok(())
    }
}
