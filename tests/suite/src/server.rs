//! A server on a free port of this machine, ended by its process id.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::books::command;
use crate::client::Client;

/// How long a server may take to answer for the first time, or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Another process may take a free port first.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// A running server; it is killed when this goes.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Serves a folder with this command of the binary.
    pub(crate) fn start(binary: Command, data: &Path, beside: &Path) -> Self {
        for attempt in 1..=ATTEMPTS {
            let log = beside.join(format!("server-{attempt}.log"));
            let port = free_port();
            let out = File::create(&log).unwrap();
            let mut serve = again(&binary);
            serve.arg("--data").arg(data).args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
            let child = serve.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
            let mut server = Self { child, url: format!("http://127.0.0.1:{port}") };
            match server.wait_until_it_answers() {
                Ok(()) => return server,
                Err(code) => {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    let is_taken = said.contains("in use") && !said.contains("folder");
                    assert!(is_taken && attempt < ATTEMPTS, "the server did not start ({code}): {said}");
                }
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let client = self.client("");
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(status.to_string());
            }
            if client.try_get("/healthz").is_some_and(|reply| reply.status == 200) {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(format!("no answer within {PATIENCE:?}"))
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client that brings a key; an empty one is not sent.
    pub fn client(&self, key: &str) -> Client {
        Client::new(&self.url, key)
    }

    /// Ends it without a warning, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and says whether it did so with code 0.
    pub fn stop(mut self) -> bool {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(PAUSE);
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command once more: each is run once.
fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    again
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts a second server on a folder, waits until it ends, and returns its exit code and what it said.
    pub fn refused(data: &Path) -> (i32, String) {
        let mut serve = command();
        serve.arg("--data").arg(data).args(["serve", "--listen", &format!("127.0.0.1:{}", free_port())]);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
            }
            std::thread::sleep(PAUSE);
        }
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), said)
    }
}
