//! Which crate may use which, and what the pure crates and the one-machine binary must not reach.

use crate::Finding;

struct Layer {
    name: &'static str,
    packages: &'static [&'static str],
    /// The highest layer it may use, with all those before that one; never its own, except tests.
    highest: Option<&'static str>,
}

const fn layer(name: &'static str, packages: &'static [&'static str], highest: Option<&'static str>) -> Layer {
    Layer { name, packages, highest }
}

/// From bottom to top.
const LAYERS: &[Layer] = &[
    layer("money", &["recoup-money"], None),
    layer("model", &["recoup-model"], Some("money")),
    layer("rules", &["recoup-metering", "recoup-attribution", "recoup-pricing"], Some("model")),
    layer("books", &["recoup-ledger", "recoup-budgets"], Some("rules")),
    layer("documents", &["recoup-documents"], Some("books")),
    layer("messages", &["recoup-messages"], Some("money")),
    layer("store", &["recoup-store"], Some("model")),
    layer("workflows", &["recoup-workflows"], Some("store")),
    layer("edges", &["recoup-store-sqlite", "recoup-store-aws", "recoup-channels", "recoup-http"], Some("workflows")),
    layer("functions", &["recoup", "recoup-lambda"], Some("edges")),
    layer("tests", &["recoup-suite", "recoup-bench", "recoup-naive", "recoup-tidy"], Some("tests")),
];

/// What the pure crates must not reach; a name also stands for its family (`aws` for `aws-sdk-s3`).
pub const IMPURE_CRATES: &[&str] =
    &["tokio", "axum", "hyper", "reqwest", "rusqlite", "aws", "getrandom", "rand", "fastrand"];

/// What the one-machine binary must not reach. `aws-lc-sys` counts: it is a long C build.
pub const AWS_CRATES: &[&str] = &["aws"];

/// A member of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name in the manifest.
    pub name: String,
    /// Path of its manifest from the workspace root.
    pub manifest: String,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One entry of a manifest.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Whether only its tests need it.
    pub is_dev: bool,
}

/// Dependencies between members that point upwards or sideways, and members without a layer.
pub fn check_direction(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

fn check_package(package: &Package, members: &[Package]) -> Vec<Finding> {
    let finding = |wrong, instead| Finding::new(&package.manifest, 1, "layers", wrong, instead);
    let Some(layer) = layer_of(&package.name) else {
        let wrong = format!("the package {} has no layer", package.name);
        return vec![finding(wrong, "place it in LAYERS of tests/tidy/src/layers.rs".to_owned())];
    };
    let below: Vec<_> = layers_below(layer).collect();
    let breaks = |used: &&Dependency| {
        let is_member = members.iter().any(|member| member.name == used.name);
        let used_layer = layer_of(&used.name).map_or("", |layer| layer.name);
        is_member && !below.contains(&used_layer) && !(used.is_dev && used_layer == "tests")
    };
    let describe = |used: &Dependency| {
        let wrong = format!("{} ({}) depends on {}", package.name, layer.name, used.name);
        let allowed = if below.is_empty() { "nothing".to_owned() } else { below.join(", ") };
        finding(wrong, format!("it may use {allowed}: move what it needs down, or its user up"))
    };
    package.dependencies.iter().filter(breaks).map(describe).collect()
}

fn layer_of(package: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.packages.contains(&package))
}

fn layers_below(layer: &Layer) -> impl Iterator<Item = &'static str> {
    let highest = LAYERS.iter().position(|other| Some(other.name) == layer.highest);
    LAYERS.iter().take(highest.map_or(0, |at| at + 1)).map(|layer| layer.name)
}

/// Forbidden crates in the output of `cargo tree --prefix depth`, each with the way that leads to it.
pub fn check_reach(manifest: &str, tree: &str, forbidden: &[&str]) -> Vec<Finding> {
    let mut way: Vec<&str> = Vec::new();
    let mut findings = Vec::new();
    for line in tree.lines() {
        let named = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let depth = line.get(..line.len() - named.len()).and_then(|digits| digits.parse().ok());
        let (Some(depth), Some(name)) = (depth, named.split_whitespace().next()) else {
            continue;
        };
        way.truncate(depth);
        way.push(name);
        if is_of_family(name, forbidden) {
            findings.push(Finding::new(
                manifest,
                1,
                "reach",
                format!("reaches {name}: {}", way.join(" -> ")),
                "drop the dependency or trim its features",
            ));
        }
    }
    findings
}

fn is_of_family(name: &str, families: &[&str]) -> bool {
    families
        .iter()
        .any(|family| name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_'])))
}

#[cfg(test)]
mod tests {
    use super::{AWS_CRATES, Dependency, IMPURE_CRATES, Package, check_direction, check_reach};

    fn package(name: &str, normal: &[&str], dev: &[&str]) -> Package {
        let entries = |names: &[&str], is_dev| {
            let entry = |name: &&str| Dependency { name: (*name).to_owned(), is_dev };
            names.iter().map(entry).collect::<Vec<_>>()
        };
        Package {
            name: name.to_owned(),
            manifest: format!("{name}/Cargo.toml"),
            dependencies: [entries(normal, false), entries(dev, true)].concat(),
        }
    }

    /// What is found in a workspace of `subject` and, without dependencies, all it names.
    fn wrongs(subject: Package) -> Vec<String> {
        let mut members: Vec<_> = subject.dependencies.iter().map(|used| package(&used.name, &[], &[])).collect();
        members.push(subject);
        check_direction(&members).into_iter().map(|finding| finding.wrong).collect()
    }

    #[test]
    fn dependencies_may_point_down() {
        assert!(wrongs(package("recoup-ledger", &["recoup-money", "recoup-pricing"], &["recoup-suite"])).is_empty());
        assert!(wrongs(package("recoup-suite", &["recoup", "recoup-tidy"], &[])).is_empty());
    }

    #[test]
    fn siblings_and_upper_layers_are_refused() {
        let cases = [
            ("recoup-money", "recoup-model"),
            ("recoup-attribution", "recoup-pricing"),
            ("recoup-ledger", "recoup-budgets"),
            ("recoup-store", "recoup-metering"),
            ("recoup-documents", "recoup-store"),
            ("recoup-http", "recoup-store-sqlite"),
            ("recoup-workflows", "recoup-suite"),
        ];
        for (user, used) in cases {
            assert_eq!(wrongs(package(user, &[used], &[])).len(), 1, "{user} -> {used}");
        }
        assert_eq!(wrongs(package("recoup-money", &[], &["recoup-model"])).len(), 1, "dev-dependencies count");
    }

    #[test]
    fn an_unknown_member_must_be_placed() {
        assert_eq!(wrongs(package("recoup-new", &[], &[])), ["the package recoup-new has no layer"]);
    }

    #[test]
    fn a_forbidden_crate_is_named_with_its_way() {
        let tree = "0recoup-money v0.1.0 (/x)\n1serde v1.0.0\n1a v1.0.0\n2rand_core v0.6.0\n1randomly v1.0.0\n\n";
        let found = check_reach("m", tree, IMPURE_CRATES);
        let wrongs: Vec<_> = found.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(wrongs, ["reaches rand_core: recoup-money -> a -> rand_core"]);
        assert_eq!(check_reach("m", "0recoup v1\n1aws-lc-sys v1\n1awsome v1\n", AWS_CRATES).len(), 1);
    }
}
