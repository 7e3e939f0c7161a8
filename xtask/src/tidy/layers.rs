//! Who may depend on whom.

use super::Problem;
use super::tree::{Crate, Tree};

/// For each crate below `crates/`, the ones below it.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("layers", &["core"]),
    ("formats", &["core"]),
    ("files", &["core", "formats"]),
    ("objects", &["core", "files", "formats", "web"]),
    ("sql", &["core"]),
    ("tls", &["core"]),
    ("web", &["core"]),
    ("transform", &["core"]),
    ("engine", &["core", "layers", "transform"]),
    ("testkit", &["core", "formats", "layers"]),
    ("bench", &[]),
    ("demo", &[]),
    ("runner", &["core", "layers", "formats", "transform", "engine", "demo"]),
];

/// What a connector may stand on; a crate that connectors share is added here.
const BELOW_CONNECTORS: &[&str] = &["core", "files", "formats", "objects", "sql", "tls", "web"];

/// What tests of a crate may use beside that: never the runner, which is tested as a program.
const FOR_TESTS: &[&str] = &["core", "layers", "formats", "transform", "testkit"];

/// Crates that must work without an asynchronous runtime.
const WITHOUT_RUNTIME: &[&str] = &["crates/core", "crates/transform"];

/// Each driver, and the connectors and shared crates that may use it.
pub(super) const DRIVERS: &[(&str, &[&str])] = &[
    ("aws-config", &["s3"]),
    ("aws-sdk-s3", &["s3"]),
    ("bson", &["bench", "mongodb"]),
    ("mongodb", &["bench", "mongodb"]),
    ("mysql_async", &["mysql"]),
    ("mysql_common", &["mysql"]),
    ("object_store", &["azure", "bench", "gcs", "objects", "s3"]),
    ("postgres-protocol", &["postgres"]),
    ("reqwest", &["azure", "bench", "gcs", "http", "objects", "s3", "testkit", "web"]),
    ("tokio-postgres", &["postgres"]),
    ("tokio-postgres-rustls", &["postgres"]),
];

/// Crates depend downwards only, and connectors and engine never see each other.
pub(super) fn layers(tree: &Tree) -> Vec<Problem> {
    tree.members.iter().flat_map(|member| check_layer(tree, member)).collect()
}

fn check_layer(tree: &Tree, member: &Crate) -> Vec<Problem> {
    let Some(allowed) = allowed(&member.folder) else {
        let what = "is not in the table of layers";
        let fix = "add it to LAYERS in xtask/src/tidy/layers.rs, with what it may depend on";
        return vec![Problem::new(&member.folder, what, fix)];
    };
    let mut problems = Vec::new();
    for dependency in &member.dependencies {
        let is_tokio = dependency.package == "tokio" && !dependency.development;
        if is_tokio && WITHOUT_RUNTIME.contains(&member.folder.as_str()) {
            let fix = "keep it free of a runtime: take what it needs from core's Context";
            problems.push(Problem::new(member.manifest_path(), "depends on tokio", fix));
        }
        let Some(target) = tree.folder_of(&dependency.package) else { continue };
        let permitted = allowed.permits(target)
            || dependency.development
                && target.strip_prefix("crates/").is_some_and(|name| FOR_TESTS.contains(&name));
        if !permitted {
            let what = format!("depends on {target}, which is not below it");
            let fix = "move what it needs down to core, or to a small crate of its own under crates/";
            problems.push(Problem::new(member.manifest_path(), what, fix));
        }
    }
    problems
}

struct Allowed {
    crates: &'static [&'static str],
    connectors: bool,
}

impl Allowed {
    fn permits(&self, folder: &str) -> bool {
        match folder.split_once('/') {
            Some(("crates", name)) => self.crates.contains(&name),
            Some(("connectors", _)) => self.connectors,
            _ => false,
        }
    }
}

fn allowed(folder: &str) -> Option<Allowed> {
    match folder.split_once('/') {
        Some(("connectors", _)) => Some(Allowed { crates: BELOW_CONNECTORS, connectors: false }),
        Some((_, name)) => {
            let (_, crates) = LAYERS.iter().find(|(layer, _)| *layer == name)?;
            Some(Allowed { crates, connectors: name == "runner" })
        }
        None if folder == "tests" => Some(Allowed { crates: FOR_TESTS, connectors: false }),
        None => Some(Allowed { crates: &[], connectors: false }),
    }
}

/// Only `connectors/X` depends on X's driver. End-to-end tests may look into a system by its driver too.
pub(super) fn drivers(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in tree.members.iter().filter(|member| !matches!(member.folder.as_str(), "tests" | "xtask")) {
        for dependency in &member.dependencies {
            let Some((driver, owners)) = DRIVERS.iter().find(|(driver, _)| *driver == dependency.package)
            else {
                continue;
            };
            let name = member.folder.split_once('/').map_or("", |(_, name)| name);
            let owned = owners.contains(&name);
            if !owned {
                let what = format!("depends on the driver {driver}");
                let fix = format!("only {} may: go through the contract in core", owners.join(", "));
                problems.push(Problem::new(member.manifest_path(), what, fix));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    fn whats(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(|problem| format!("{}: {}", problem.place, problem.what)).collect()
    }

    #[test]
    fn the_engine_must_not_see_a_connector() {
        let tree = fixture(&[("crates/engine/Cargo.toml", "+towpath-connector-canal.workspace = true\n")]);
        let expected = ["crates/engine/Cargo.toml: depends on connectors/canal, which is not below it"];
        assert_eq!(whats(&layers(&tree)), expected);
    }

    #[test]
    fn a_connector_must_not_see_the_engine_even_in_tests() {
        let tree = fixture(&[("connectors/canal/Cargo.toml", "+towpath-engine.workspace = true\n")]);
        let expected = ["connectors/canal/Cargo.toml: depends on crates/engine, which is not below it"];
        assert_eq!(whats(&layers(&tree)), expected);
    }

    #[test]
    fn core_must_not_need_a_runtime() {
        let tree = fixture(&[("crates/core/Cargo.toml", "+[dependencies]\ntokio.workspace = true\n")]);
        assert_eq!(whats(&layers(&tree)), ["crates/core/Cargo.toml: depends on tokio"]);
        let tree = fixture(&[("crates/core/Cargo.toml", "+[dev-dependencies]\ntokio.workspace = true\n")]);
        assert_eq!(layers(&tree), []);
    }

    #[test]
    fn a_new_crate_must_find_its_layer() {
        let tree = fixture(&[("crates/shared/Cargo.toml", "[package]\nname = \"towpath-shared\"\n")]);
        assert_eq!(whats(&layers(&tree)), ["crates/shared: is not in the table of layers"]);
    }

    #[test]
    fn a_driver_belongs_to_its_connector() {
        let driver = "+[dependencies]\nmongodb.workspace = true\n";
        let tree = fixture(&[("crates/core/Cargo.toml", driver)]);
        assert_eq!(whats(&drivers(&tree)), ["crates/core/Cargo.toml: depends on the driver mongodb"]);
        let owner =
            "[package]\nname = \"towpath-connector-mongodb\"\n[dependencies]\nmongodb.workspace = true\n";
        assert_eq!(drivers(&fixture(&[("connectors/mongodb/Cargo.toml", owner)])), []);
    }
}
