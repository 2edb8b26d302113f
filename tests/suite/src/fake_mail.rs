//! A mail server that speaks SMTP and keeps what it takes, with faults to order.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// An e-mail as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Whom the envelope says it comes from.
    pub from: String,
    /// Whom the envelope says it goes to.
    pub to: String,
    /// Headers and body as they were sent.
    pub content: String,
}

impl Mail {
    /// The content with soft line breaks and coded letters undone, as far as tests look at them.
    pub fn readable(&self) -> String {
        self.content.replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n")
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.content.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Debug, Default)]
struct State {
    taken: Vec<Mail>,
    logins: Vec<String>,
    next: Vec<&'static str>,
}

/// The server; it answers as long as the process lives.
#[derive(Clone, Debug)]
pub struct FakeMail {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Default for FakeMail {
    fn default() -> Self {
        Self::start()
    }
}

impl FakeMail {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let fake = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A client that breaks off is its own matter.
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        fake
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Its address with a user and a password.
    pub fn url_with_login(&self, user: &str, password: &str) -> String {
        format!("smtp://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// What it answers to the next e-mails in the place of `250`, one each; empty: it takes it and closes the connection.
    pub fn next(&self, answers: impl IntoIterator<Item = &'static str>) {
        self.state.lock().unwrap().next.extend(answers);
    }

    /// What it has taken.
    pub fn taken(&self) -> Vec<Mail> {
        self.state.lock().unwrap().taken.clone()
    }

    /// Logins as they were sent.
    pub fn logins(&self) -> Vec<String> {
        self.state.lock().unwrap().logins.clone()
    }

    /// Waits until it has taken so many.
    #[track_caller]
    pub fn until(&self, count: usize) -> Vec<Mail> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let taken = self.taken();
            if taken.len() >= count {
                return taken;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{count} e-mails did not come: {:#?}", self.taken());
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes());
        say("220 mail.test ESMTP")?;
        let (mut from, mut to) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            let upper = line.to_ascii_uppercase();
            if upper.starts_with("EHLO") {
                say("250-mail.test")?;
                say("250-8BITMIME")?;
                say("250 AUTH PLAIN")?;
            } else if upper.starts_with("AUTH") {
                self.state.lock().unwrap().logins.push(line.to_owned());
                say("235 2.7.0 Accepted")?;
            } else if upper.starts_with("MAIL FROM:") {
                from = address(line);
                say("250 OK")?;
            } else if upper.starts_with("RCPT TO:") {
                to = address(line);
                say(if to.starts_with("nobody@") { "550 5.1.1 No such user" } else { "250 OK" })?;
            } else if upper == "DATA" {
                say("354 Go on")?;
                let content = content(&mut reader)?;
                let answer = {
                    let mut state = self.state.lock().unwrap();
                    let answer = if state.next.is_empty() { "250 OK" } else { state.next.remove(0) };
                    if answer.is_empty() || answer.starts_with('2') {
                        state.taken.push(Mail { from: from.clone(), to: to.clone(), content });
                    }
                    answer
                };
                if answer.is_empty() {
                    return Ok(());
                }
                say(answer)?;
            } else if upper == "QUIT" {
                say("221 Bye")?;
                return Ok(());
            } else {
                say("250 OK")?;
            }
        }
    }
}

fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}

fn content(reader: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut content = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == ".\r\n" {
            return Ok(content);
        }
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
