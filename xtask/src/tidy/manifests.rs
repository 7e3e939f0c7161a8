//! One place for versions and lints, and no dependency that nobody uses.

use toml_edit::Item;

use super::Problem;
use super::tree::{Crate, Tree};

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Versions stand in the root manifest alone.
pub(super) fn inherited(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in &tree.members {
        for dependency in member.dependencies.iter().filter(|dependency| !dependency.inherited) {
            let what = format!("`{}` is not inherited", dependency.name);
            let fix =
                "put its version into [workspace.dependencies] of the root, and `workspace = true` here";
            problems.push(Problem::new(member.manifest_path(), what, fix));
        }
        for key in INHERITED {
            if !is_inherited(member.manifest.get("package").and_then(|package| package.get(key))) {
                let fix = format!("write `{key}.workspace = true`");
                problems.push(Problem::new(member.manifest_path(), format!("`{key}` is not inherited"), fix));
            }
        }
    }
    problems
}

/// Lints stand in the root manifest alone, hold everywhere, and forbid unsafe code.
pub(super) fn lints(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let unsafe_code = tree
        .root
        .get("workspace")
        .and_then(|workspace| workspace.get("lints")?.get("rust")?.get("unsafe_code"));
    if unsafe_code.and_then(Item::as_str) != Some("forbid") {
        let fix = "write `unsafe_code = \"forbid\"` into [workspace.lints.rust]";
        problems.push(Problem::new("Cargo.toml", "unsafe code is not forbidden", fix));
    }
    for member in tree.members.iter().filter(|member| !is_inherited(member.manifest.get("lints"))) {
        let fix = "write `workspace = true` into [lints]";
        problems.push(Problem::new(
            member.manifest_path(),
            "the lints of the workspace do not hold here",
            fix,
        ));
    }
    problems
}

fn is_inherited(item: Option<&Item>) -> bool {
    item.and_then(|item| item.get("workspace")).and_then(Item::as_bool) == Some(true)
}

/// Every dependency is named somewhere in the crate's code, or in the list of exceptions that cargo-machete reads.
pub(super) fn unused(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in &tree.members {
        let exceptions = exceptions(member);
        let is_unused = |name: &&str| {
            let module = name.replace('-', "_");
            !exceptions.contains(name)
                && !tree.below(&member.folder, "rs").any(|file| names(&file.text, &module))
        };
        let declared = member.dependencies.iter().map(|dependency| dependency.name.as_str());
        let unused: Vec<_> = declared.filter(is_unused).collect();
        if !unused.is_empty() {
            let what = format!("nothing uses {}", unused.join(", "));
            let fix = "remove it; if only its features are wanted, list it in `package.metadata.cargo-machete.ignored`";
            problems.push(Problem::new(member.manifest_path(), what, fix));
        }
    }
    problems
}

fn exceptions(member: &Crate) -> Vec<&str> {
    let metadata = member.manifest.get("package").and_then(|package| package.get("metadata"));
    let ignored = metadata.and_then(|metadata| metadata.get("cargo-machete")?.get("ignored")?.as_array());
    ignored.into_iter().flatten().filter_map(|name| name.as_str()).collect()
}

/// Whether a text holds a word: not as a part of a longer one.
fn names(text: &str, word: &str) -> bool {
    let is_part = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    text.match_indices(word).any(|(start, _)| {
        !is_part(text[..start].chars().next_back()) && !is_part(text[start + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    fn whats(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.what.as_str()).collect()
    }

    #[test]
    fn a_version_in_a_member_is_found_in_every_notation() {
        let added = "+one = \"1\"\ntwo = { workspace = true, version = \"2\" }\n\
                     [target.'cfg(unix)'.dependencies]\nthree = { version = \"3\" }\n[dependencies.four]\nworkspace = true\n";
        let tree = fixture(&[("crates/engine/Cargo.toml", added)]);
        let expected = ["`one` is not inherited", "`two` is not inherited", "`three` is not inherited"];
        assert_eq!(whats(&inherited(&tree)), expected);
    }

    #[test]
    fn lints_hold_in_every_member() {
        let manifest = "[package]\nname = \"towpath-core\"\n[lints.rust]\nunsafe_code = \"allow\"\n";
        let tree = fixture(&[("crates/core/Cargo.toml", manifest), ("Cargo.toml", "[workspace]\n")]);
        let expected = ["unsafe code is not forbidden", "the lints of the workspace do not hold here"];
        assert_eq!(whats(&lints(&tree)), expected);
    }

    #[test]
    fn a_dependency_that_nobody_names_is_found() {
        let tree = fixture(&[("crates/engine/Cargo.toml", "+tokio-util.workspace = true\n")]);
        assert_eq!(whats(&unused(&tree)), ["nothing uses tokio-util"]);

        let code = "use tokio_util_extra::Codec;\n";
        let manifest = "+tokio-util.workspace = true\n";
        let tree = fixture(&[("crates/engine/Cargo.toml", manifest), ("crates/engine/src/codec.rs", code)]);
        assert_eq!(whats(&unused(&tree)), ["nothing uses tokio-util"]);

        let manifest =
            "+tokio-util.workspace = true\n[package.metadata.cargo-machete]\nignored = [\"tokio-util\"]\n";
        assert_eq!(unused(&fixture(&[("crates/engine/Cargo.toml", manifest)])), []);
    }
}
