//! The shape of the tree and of its manifests.

use crate::Finding;

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "functions",
    "infra",
    "pricing-models",
    "samplconfig.toml",
    "shared",
    "tests",
];

/// Tracked paths whose first part is not one of the agreed entries or a dot-file.
pub fn check_top_level(tracked: &[String]) -> Vec<Finding> {
    let mut strangers: Vec<_> = tracked
        .iter()
        .filter_map(|path| path.split('/').next())
        .filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(entry))
        .collect();
    strangers.dedup();
    let finding = |entry| {
        let wrong = format!("{entry} is not an agreed top-level entry");
        Finding::new(entry, 1, "top-level", wrong, "move it into one of the folders, or make it a dot-file")
    };
    strangers.into_iter().map(finding).collect()
}

/// Dependencies of a member's manifest that do not take their version from the workspace.
pub fn check_versions(path: &str, text: &str) -> Vec<Finding> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            let wrong = format!("not TOML ({})", error.message());
            return vec![Finding::new(path, 1, "manifest", wrong, "correct it")];
        }
    };
    let inherits = |entry: &toml::Value| entry.get("workspace").and_then(toml::Value::as_bool) == Some(true);
    let finding = |name: &String| {
        let wrong = format!("{name} does not take its version from the workspace");
        let instead = format!("write `{name} = {{ workspace = true }}` and declare it in the root manifest");
        Finding::new(path, line_of(text, name), "version", wrong, instead)
    };
    dependency_tables(&manifest)
        .into_iter()
        .flatten()
        .filter(|(_, entry)| !inherits(entry))
        .map(|(name, _)| finding(name))
        .collect()
}

fn dependency_tables(manifest: &toml::Table) -> Vec<&toml::Table> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let per_target = targets.into_iter().flatten().filter_map(|(_, target)| target.as_table());
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    std::iter::once(manifest)
        .chain(per_target)
        .flat_map(|owner| kinds.iter().filter_map(|kind| owner.get(*kind)?.as_table()))
        .collect()
}

/// The first line that declares `name`, or 1.
fn line_of(text: &str, name: &str) -> usize {
    let declares = |line: &str| {
        let rest = line.trim_start().trim_start_matches('"').strip_prefix(name);
        let is_entry = rest.is_some_and(|rest| rest.starts_with([' ', '=', '.', '"']));
        is_entry || line.trim_end().ends_with(&format!(".{name}]"))
    };
    text.lines().position(declares).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::{check_top_level, check_versions};

    #[test]
    fn strangers_at_the_top_are_refused() {
        let paths = ["Cargo.toml", "docs/a.md", "docs/b.md", ".config/x", "shared/a.rs"].map(str::to_owned);
        let found: Vec<_> = check_top_level(&paths).into_iter().map(|finding| finding.file).collect();
        assert_eq!(found, ["docs"]);
    }

    #[test]
    fn versions_live_in_the_workspace_only() {
        let good = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\n";
        assert!(check_versions("m", good).is_empty());
        let bad = "[dependencies]\na = \"1\"\n\n[dev-dependencies]\nb = { path = \"../b\" }\n\n[target.'cfg(unix)'.build-dependencies.c]\ngit = \"x\"\n";
        let lines: Vec<_> = check_versions("m", bad).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 5, 7]);
        assert!(check_versions("m", "[").iter().any(|finding| finding.rule == "manifest"));
    }
}
