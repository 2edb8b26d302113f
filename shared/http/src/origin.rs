//! Where a request came from, for the audit record.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use recoup_model::Id;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// Carries it inside the router; what a caller writes there is taken out.
const ORIGIN: HeaderName = HeaderName::from_static("recoup-origin");

/// Where a request came from, in words: an address, or a user of the machine. Whoever serves the router knows it and puts it
/// into the extensions of the request, or serves with it as the connection's information, where it is its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub Id);

/// How long a connection may send nothing, before it has asked anything, in the middle of that and after it.
pub const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A listener whose connections say where they come from, as their [`Origin`], keep no small answer back, and end when they
/// have been silent for long.
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
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps small answers back");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(self.silence));
        (Box::pin(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, TcpDoor>> for Origin {
    fn connect_info(stream: IncomingStream<'_, TcpDoor>) -> Self {
        Self(stream.remote_addr().ip().to_string().into())
    }
}

/// What is known of a request: from its connection, unless somebody has put it there.
fn known(extensions: &Extensions) -> Option<&Origin> {
    let of_connection = extensions.get::<ConnectInfo<Origin>>().map(|ConnectInfo(origin)| origin);
    extensions.get::<Origin>().or(of_connection)
}

/// From where a request came, for a handler that [`note`] does not stand in front of.
pub(crate) fn of_request(extensions: &Extensions) -> Option<String> {
    known(extensions).map(|origin| origin.0.to_string())
}

pub(crate) async fn note(mut request: Request, next: Next) -> Response {
    let origin = known(request.extensions()).and_then(|origin| HeaderValue::from_str(&origin.0).ok());
    match origin {
        Some(origin) => drop(request.headers_mut().insert(ORIGIN, origin)),
        None => drop(request.headers_mut().remove(ORIGIN)),
    }
    next.run(request).await
}

pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(ORIGIN)?.to_str().ok()?.to_owned())
}
