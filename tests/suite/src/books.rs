//! A data folder and the command line on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::calendar::Month;
use crate::server::Server;

/// The binary under test: `RECOUP_BIN`, else the one of the dev profile.
pub fn recoup_binary() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/recoup");
    let path = std::env::var_os("RECOUP_BIN").map_or(built, PathBuf::from);
    let found = path.canonicalize();
    found.unwrap_or_else(|_| panic!("{} is not built: run `cargo build -p recoup`, or set RECOUP_BIN", path.display()))
}

/// A command of the binary, without what the environment of the tests may say to it.
pub(crate) fn command() -> Command {
    let mut command = Command::new(recoup_binary());
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("RECOUP_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it answered.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
    what: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr), what }
    }

    /// The same, if it ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        let Self { what, stdout, stderr, .. } = &self;
        assert_eq!(self.code, code, "exit code of recoup {what}\nstdout: {stdout}\nstderr: {stderr}");
        self
    }

    /// Its answer as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("recoup {} answered no JSON ({error}): {}", self.what, self.stdout))
    }

    /// Both of what it answered and said.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A data folder that lives as long as this.
#[derive(Debug)]
pub struct Books {
    folder: TempDir,
}

impl Books {
    /// An empty place for one.
    pub fn empty() -> Self {
        // Directly in the temporary folder: the path of a socket may have about a hundred bytes.
        let kept = std::env::var_os("RECOUP_SUITE_KEEP").is_some();
        let folder = tempfile::Builder::new().prefix("recoup-").disable_cleanup(kept).tempdir().unwrap();
        if kept {
            println!("the books stay in {}", folder.path().display());
        }
        Self { folder }
    }

    /// One with an organisation.
    pub fn of(organisation: &str) -> Self {
        let books = Self::empty();
        books.apply(organisation, &[]).ended(0);
        books
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file beside the data folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the data folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.beside(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs a verb on the data folder.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(command().arg("--data").arg(self.data()).args(arguments).current_dir(self.folder.path()))
    }

    /// Runs a verb that has to succeed, and reads its JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).ended(0).json()
    }

    /// Applies an organisation file.
    pub fn apply(&self, organisation: &str, more: &[&str]) -> Ran {
        let path = self.write("recoup.toml", organisation);
        self.run(&[&["--json", "apply", path.to_str().unwrap()], more].concat())
    }

    /// Sends a file of events, one a line.
    pub fn ingest(&self, lines: &[String]) -> Ran {
        let path = self.write("events.ndjson", lines.join("\n"));
        self.run(&["--json", "ingest", path.to_str().unwrap()])
    }

    /// Makes a key.
    #[track_caller]
    pub fn key(&self, role: &str, team: Option<&str>) -> String {
        let mut arguments = vec!["keys", "create", "--role", role];
        arguments.extend(team.iter().flat_map(|team| ["--team", team]));
        self.json(&arguments)["key"].as_str().unwrap().to_owned()
    }

    /// Runs every night and closes a month as of an instant at which that may be.
    #[track_caller]
    pub fn close(&self, month: Month) -> Value {
        self.json(&["nightly", "--all"]);
        self.json(&["close", &month.to_string(), "--as-of", &month.closable()])
    }

    /// The file of an issued statement.
    pub fn statement_path(&self, month: Month, team: &str) -> PathBuf {
        self.data().join(format!("documents/statements/{month}/{team}/r1.json"))
    }

    /// The bytes of an issued statement.
    #[track_caller]
    pub fn statement_bytes(&self, month: Month, team: &str) -> Vec<u8> {
        let path = self.statement_path(month, team);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Every document of a month by its path under the documents.
    pub fn documents(&self, month: Month) -> std::collections::BTreeMap<String, Vec<u8>> {
        let mut found = std::collections::BTreeMap::new();
        let top = self.data().join("documents");
        let mut folders = vec![top.join(format!("statements/{month}"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// Serves the data folder.
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Serves the data folder with these variables.
    pub fn serve_with(&self, variables: &[(&str, String)]) -> Server {
        let mut command = command();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Server::start(command, &self.data(), self.folder.path())
    }

    /// Serves the data folder as if it were so many minutes later (Debian's `faketime`).
    pub fn serve_later(&self, minutes: u32) -> Server {
        // The program itself runs what it is given as a child, which would outlive it when it is killed.
        let library = Command::new("faketime").args(["-f", "+0m", "printenv", "LD_PRELOAD"]).output();
        let library = library.unwrap_or_else(|error| panic!("no `faketime` ({error}): apt-get install faketime"));
        let mut command = command();
        command.env("LD_PRELOAD", String::from_utf8(library.stdout).unwrap().trim());
        // Waits are measured by another clock, which has to stay as it is.
        command.env("FAKETIME", format!("+{minutes}m")).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Server::start(command, &self.data(), self.folder.path())
    }
}
