//! What must not be in the lock file, and what must be there once.

use toml_edit::{DocumentMut, Item};

use super::Problem;
use super::tree::Tree;

/// Other TLS stacks than rustls with ring: two in one binary cost size, and some drivers panic.
const BANNED: &[&str] = &["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];

/// Crates whose types cross our interfaces; two versions of one would not fit together.
const SINGLE: &[&str] = &["arrow", "arrow-schema", "parquet", "rustls"];

/// No second TLS stack.
pub(super) fn banned(tree: &Tree) -> Vec<Problem> {
    let packages = packages(tree);
    let found = BANNED.iter().filter(|name| packages.iter().any(|(package, _)| package == *name));
    let problem = |name: &&str| {
        let fix = format!(
            "find who brings it by `cargo tree --all-features -i {name}` and choose its feature for ring"
        );
        Problem::new("Cargo.lock", format!("holds {name}"), fix)
    };
    found.map(problem).collect()
}

/// One version of what everything shares.
pub(super) fn single(tree: &Tree) -> Vec<Problem> {
    let packages = packages(tree);
    let mut problems = Vec::new();
    for name in SINGLE {
        let versions: Vec<_> = packages
            .iter()
            .filter(|(package, _)| package == name)
            .map(|(_, version)| version.as_str())
            .collect();
        if versions.len() > 1 {
            let what = format!("holds {name} in {} versions: {}", versions.len(), versions.join(", "));
            let fix = format!(
                "find who brings them by `cargo tree --all-features -d -i {name}` and choose versions that agree"
            );
            problems.push(Problem::new("Cargo.lock", what, fix));
        }
    }
    problems
}

/// Names and versions.
fn packages(tree: &Tree) -> Vec<(String, String)> {
    let lock = tree.file("Cargo.lock").and_then(|text| text.parse::<DocumentMut>().ok()).unwrap_or_default();
    let packages = lock.get("package").and_then(Item::as_array_of_tables);
    let text = |package: &toml_edit::Table, key: &str| {
        package.get(key).and_then(Item::as_str).unwrap_or_default().to_owned()
    };
    packages.into_iter().flatten().map(|package| (text(package, "name"), text(package, "version"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn a_second_tls_stack_is_found() {
        let tree = fixture(&[("Cargo.lock", "[[package]]\nname = \"openssl-sys\"\nversion = \"0.9.1\"\n")]);
        assert_eq!(banned(&tree)[0].what, "holds openssl-sys");
    }

    #[test]
    fn a_second_version_of_arrow_is_found() {
        let tree = fixture(&[("Cargo.lock", "+[[package]]\nname = \"arrow\"\nversion = \"60.0.0\"\n")]);
        assert_eq!(single(&tree)[0].what, "holds arrow in 2 versions: 59.3.0, 60.0.0");
    }
}
