//! The house rules, applied to this workspace. Each failure prints every finding of its rule.
#![expect(clippy::unwrap_used, reason = "a workspace that cannot be read fails the test")]

use recoup_tidy::purity::PURE_CRATES;
use recoup_tidy::workspace::Workspace;
use recoup_tidy::{Finding, citations, hygiene, layers, manifests, purity, sizes};

#[track_caller]
fn assert_none(mut findings: Vec<Finding>) {
    findings.sort();
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    assert_none(layers::check_direction(&Workspace::own().packages().unwrap()));
}

#[test]
fn pure_crates_reach_nothing_impure() {
    let workspace = Workspace::own();
    let packages = workspace.packages().unwrap();
    let is_pure = |name: &str| PURE_CRATES.iter().any(|pure| pure.package == name);
    let pure = packages.iter().filter(|package| is_pure(&package.name));
    let check = |package: &layers::Package| {
        let tree = workspace.tree(&package.name, "normal").unwrap();
        layers::check_reach(&package.manifest, &tree, layers::IMPURE_CRATES)
    };
    assert_none(pure.flat_map(check).collect());
}

#[test]
fn the_one_machine_binary_needs_no_aws_crate() {
    let tree = Workspace::own().tree("recoup", "normal,build").unwrap();
    assert_none(layers::check_reach("functions/local/Cargo.toml", &tree, layers::AWS_CRATES));
}

#[test]
fn pure_crates_name_nothing_impure() {
    assert_none(purity::check(&Workspace::own().sources().unwrap()));
}

#[test]
fn functions_and_files_stay_small() {
    let sources = Workspace::own().sources().unwrap();
    let ratchet = sources.iter().find(|source| source.path == sizes::RATCHET).unwrap();
    assert_none(sizes::check(&sources, &ratchet.text));
}

#[test]
fn names_say_something() {
    let workspace = Workspace::own();
    let packages: Vec<_> = workspace.packages().unwrap().into_iter().map(|package| package.name).collect();
    assert_none(hygiene::check_names(&workspace.paths().unwrap(), &packages));
}

#[test]
fn nothing_is_left_open() {
    assert_none(hygiene::check_texts(&Workspace::own().sources().unwrap()));
}

#[test]
fn the_top_level_is_as_agreed() {
    assert_none(manifests::check_top_level(&Workspace::own().tracked().unwrap()));
}

#[test]
fn versions_live_in_the_workspace_manifest() {
    let sources = Workspace::own().sources().unwrap();
    let members = sources.iter().filter(|source| source.path.ends_with("/Cargo.toml"));
    assert_none(members.flat_map(|source| manifests::check_versions(&source.path, &source.text)).collect());
}

#[test]
fn cited_invariants_exist_and_are_tested() {
    let sources = Workspace::own().sources().unwrap();
    let registry = sources.iter().find(|source| source.path == citations::REGISTRY);
    let registry = citations::read_registry(registry.map_or("", |source| source.text.as_str()));
    assert!(!registry.is_empty(), "{}:1: citation: no invariants; declare them there", citations::REGISTRY);
    let untested = citations::untested(&registry, &sources);
    let ids: Vec<_> = untested.iter().map(|known| known.id.as_str()).collect();
    println!("invariants that no test cites: {}", ids.join(", "));
    let findings = [citations::check_known(&registry, &sources), citations::check_tested(&registry, &sources)];
    assert_none(findings.concat());
}
