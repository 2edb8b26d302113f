//! Reads the workspace: files as git knows them, members and dependencies as cargo does. The only I/O of this crate.

use crate::layers::{Dependency, Package};
use crate::source::Source;
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A program could not be started.
    #[error("starting {program}")]
    Start {
        /// The program.
        program: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {complaint}")]
    Exit {
        /// The program.
        program: &'static str,
        /// What it wrote to its standard error.
        complaint: String,
    },
    /// A file could not be read.
    #[error("reading {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The members could not be listed.
    #[error("listing the members of the workspace")]
    Members(#[from] cargo_metadata::Error),
}

/// The checkout this crate was built from.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that holds this crate.
    pub fn own() -> Self {
        Self { root: Path::new(env!("CARGO_MANIFEST_DIR")).join("../..") }
    }

    /// Paths in git's index.
    pub fn tracked(&self) -> Result<Vec<String>, ReadError> {
        self.list_files(&[])
    }

    /// Paths in git's index and new ones that are not ignored, so that a file is checked before it is added.
    pub fn paths(&self) -> Result<Vec<String>, ReadError> {
        let mut paths = self.list_files(&["--cached", "--others", "--exclude-standard"])?;
        paths.retain(|path| self.root.join(path).exists());
        Ok(paths)
    }

    fn list_files(&self, options: &[&str]) -> Result<Vec<String>, ReadError> {
        let listing = self.run("git", &[&["ls-files", "-z"], options].concat())?;
        Ok(listing.split_terminator('\0').map(str::to_owned).collect())
    }

    /// Every text among [`Self::paths`].
    pub fn sources(&self) -> Result<Vec<Source>, ReadError> {
        let read = |path: String| match fs::read_to_string(self.root.join(&path)) {
            Ok(text) => Some(Ok(Source::new(&path, &text))),
            // Images and archives.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(source) => Some(Err(ReadError::File { path: path.into(), source })),
        };
        self.paths()?.into_iter().filter_map(read).collect()
    }

    /// The members with what their manifests ask for.
    pub fn packages(&self) -> Result<Vec<Package>, ReadError> {
        let metadata = MetadataCommand::new().current_dir(&self.root).no_deps().exec()?;
        let root = &metadata.workspace_root;
        let package = |package: &cargo_metadata::Package| Package {
            name: package.name.to_string(),
            manifest: package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path).to_string(),
            dependencies: package.dependencies.iter().map(dependency).collect(),
        };
        Ok(metadata.packages.iter().map(package).collect())
    }

    /// What a member reaches on this platform, as `cargo tree --prefix depth` prints it. Unlike `cargo metadata` it
    /// resolves features for this member alone. Procedural macros run in the compiler and are left out.
    pub fn tree(&self, package: &str, edges: &str) -> Result<String, ReadError> {
        let edges = format!("{edges},no-proc-macro");
        self.run("cargo", &["tree", "--package", package, "--edges", &edges, "--prefix", "depth"])
    }

    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, ReadError> {
        let started = Command::new(program).args(arguments).current_dir(&self.root).output();
        let output = started.map_err(|source| ReadError::Start { program, source })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(ReadError::Exit { program, complaint })
        }
    }
}

fn dependency(dependency: &cargo_metadata::Dependency) -> Dependency {
    Dependency { name: dependency.name.clone(), is_dev: dependency.kind == DependencyKind::Development }
}
