//! The floor of a first TLS handshake: a process with rustls over ring and one trusted certificate. Prints how many microseconds
//! it takes from the connection to the end of the handshake, its own preparation included.
//!
//! `tls_handshake HOST:PORT CERTIFICATE.pem`

use std::error::Error;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (address, certificate) = (arguments.next().ok_or("HOST:PORT?")?, arguments.next().ok_or("a certificate?")?);
    let mut stream = TcpStream::connect(&address)?;
    let started = Instant::now();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from(host)?)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    println!("{}", started.elapsed().as_micros());
    Ok(())
}
