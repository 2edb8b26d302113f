//! The built command line: against a made-up server, and on real data folders.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod budgets;
mod damaged;
mod fake;
mod folder;
mod server;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What a command did.
#[derive(Debug)]
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Fails with everything that was printed unless the exit code is this.
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recoup"));
    command.args(arguments).env_remove("RECOUP_DATA").env_remove("RECOUP_SERVER").env_remove("RECOUP_KEY");
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn recoup(arguments: &[&str]) -> Outcome {
    finish(command(arguments).spawn().unwrap())
}

fn recoup_with_input(arguments: &[&str], input: &[u8]) -> Outcome {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    finish(child)
}

/// `recoup --data FOLDER ...`.
fn on_folder(folder: &Path, arguments: &[&str]) -> Outcome {
    let folder = ["--data", folder.to_str().unwrap()];
    recoup(&[&folder[..], arguments].concat())
}
