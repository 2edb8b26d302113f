//! The first TLS handshake of a process, in memory: `handshake aws-lc|ring CERTIFICATE KEY` prints its nanoseconds.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

/// Round trips that no handshake takes.
const ROUNDS_MAX: usize = 20;

/// Hands over what one side has to say; whether there was anything.
fn carry(from: &mut Connection, to: &mut Connection) -> Result<bool, Box<dyn Error>> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes)?;
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

fn connect(provider: CryptoProvider, certificate: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let provider = Arc::new(provider);
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_file(key)?)?;
    let name = ServerName::try_from("localhost")?;
    let mut client = Connection::from(ClientConnection::new(Arc::new(client), name)?);
    let mut server = Connection::from(ServerConnection::new(Arc::new(server))?);
    for _ in 0..ROUNDS_MAX {
        let said = carry(&mut client, &mut server)?;
        let answered = carry(&mut server, &mut client)?;
        if !said && !answered {
            break;
        }
    }
    if client.is_handshaking() || server.is_handshaking() {
        return Err("the handshake did not end".into());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [provider, certificate, key] = arguments.as_slice() else {
        return Err("usage: handshake aws-lc|ring CERTIFICATE KEY".into());
    };
    let started = Instant::now();
    match provider.as_str() {
        "aws-lc" => connect(aws_lc_rs::default_provider(), certificate, key)?,
        "ring" => connect(ring::default_provider(), certificate, key)?,
        other => return Err(format!("`{other}` is neither aws-lc nor ring").into()),
    }
    println!("{}", started.elapsed().as_nanos());
    Ok(())
}
