//! `recoup keys`: API keys.

use clap::{Args, Subcommand, ValueEnum};
use recoup_workflows::access;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Desk;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::screen::Screen;
use crate::table::{Column, Grid, field, moment};

/// Keys listed at most.
const KEYS_MAX: usize = 10_000;

/// Makes, lists and revokes API keys. A key is shown once, when it is made; only its digest is stored.
#[derive(Debug, Args)]
#[command(after_help = "\
A key is shown once, when it is made; only its digest is stored. Where the
organisation file has [[people]], --person is the id of one of them.

Examples:
  recoup keys create --role ingest                       sends events
  recoup keys create --role ingest --tag project=arm-r2  with a default tag
  recoup keys create --role viewer --team support        sees one team's numbers
  recoup keys create --role finance --person finn        sees all, runs, closes
  recoup keys list
  recoup keys revoke 0a1b2c3d4e5f
  recoup keys make-admin --json       the first key of a deployment, made here")]
pub(crate) struct Keys {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it
    Create(Create),
    /// Make the first admin key of a deployment, without any books: key, id and digest
    MakeAdmin,
    /// List keys, without their secrets
    List,
    /// Revoke a key; it stays in the list
    Revoke {
        /// Its id: what stands between the two underscores of the key
        id: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What it may do
    #[arg(long)]
    role: Role,
    /// Whose numbers it sees (viewer, lead); for ingest the default team of its events
    #[arg(long)]
    team: Option<String>,
    /// A default tag of the events that come with it; repeat for several
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Whose own it is: told in the audit record, and who cannot approve what it asked for. Where the organisation file has
    /// `[[people]]`, the id of one of them
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Ingest,
    Viewer,
    Lead,
    Finance,
    Admin,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Viewer => "viewer",
            Self::Lead => "lead",
            Self::Finance => "finance",
            Self::Admin => "admin",
        }
    }
}

#[derive(Deserialize)]
struct Made {
    key: String,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, such as project=arm-r2".to_owned()),
    }
}

impl Keys {
    /// Whether it makes a key.
    pub(crate) const fn creates(&self) -> bool {
        matches!(self.command, Command::Create(_))
    }

    /// Whether it needs no books.
    pub(crate) const fn is_offline(&self) -> bool {
        matches!(self.command, Command::MakeAdmin)
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        match &self.command {
            Command::MakeAdmin => return make_admin(desk.screen),
            Command::Create(create) => create.run(desk).await?,
            Command::List => list(desk).await?,
            Command::Revoke { id } => {
                let answer = desk.api.ask(Ask::delete(&["v1", "keys", id])).await?;
                if desk.screen.json() {
                    desk.screen.document(&answer.bytes)?;
                } else {
                    desk.screen.line(format!("revoked {id}"))?;
                }
            }
        }
        Ok(Verdict::Yes)
    }
}

impl Create {
    async fn run(&self, desk: &Desk) -> Result<(), Failure> {
        let tags: Map<String, Value> =
            self.tags.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let body = json!({ "role": self.role.name(), "team": self.team, "tags": tags, "person": self.person });
        let answer = desk.api.ask(Ask::post_json(&["v1", "keys"], &body)).await?;
        if desk.screen.json() {
            return desk.screen.document(&answer.bytes);
        }
        desk.screen.line(answer.read::<Made>()?.key)?;
        desk.screen.note("Keep it now: it is not shown again. Send it as `Authorization: Bearer KEY`.")
    }
}

/// Makes a key that a deployment is told the id and the digest of.
pub(crate) fn make_admin(screen: Screen) -> Result<Verdict, Failure> {
    let made = access::make_admin_key().map_err(|refusal| Failure::caused("could not make a key", refusal))?;
    if screen.json() {
        let document = json!({ "key": made.key, "id": made.id, "digest": made.digest });
        screen.document(document.to_string().as_bytes())?;
        return Ok(Verdict::Yes);
    }
    screen.line(format!("key    {}\nid     {}\ndigest {}", made.key, made.id, made.digest))?;
    screen.note(
        "Keep the key now: it stands nowhere else. The deployment is told its id (RECOUP_ADMIN_KEY_ID) and its digest \
         (RECOUP_ADMIN_KEY_DIGEST), which are no secrets.",
    )?;
    Ok(Verdict::Yes)
}

async fn list(desk: &Desk) -> Result<(), Failure> {
    let found = desk.api.rows(Ask::get(&["v1", "keys"]), KEYS_MAX).await?;
    if desk.screen.json() {
        return desk.screen.document(found.to_json().to_string().as_bytes());
    }
    let mut grid = Grid::new([
        Column::Name("id"),
        Column::Name("role"),
        Column::Name("team"),
        Column::Name("person"),
        Column::Name("tags"),
        Column::Name("created"),
        Column::Name("revoked"),
    ]);
    for row in &found.rows {
        let tags = row.get("tags").map(tags_text).unwrap_or_default();
        let plain = |name| field(row, name);
        grid.row([
            plain("id"),
            plain("role"),
            plain("team"),
            plain("person"),
            tags,
            moment(&plain("created_at")),
            moment(&plain("revoked_at")),
        ]);
    }
    if grid.is_empty() {
        return desk.screen.line("there are no keys; make one with `recoup keys create --role ingest`");
    }
    desk.screen.table(&grid)
}

fn tags_text(tags: &Value) -> String {
    let Value::Object(tags) = tags else { return String::new() };
    let set = tags.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    set.collect::<Vec<_>>().join(" ")
}
