use super::*;
use std::fs::{create_dir_all, write};
use towpath_files::Walk as _;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for file in files {
            let path = tree.0.path().join(file);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, file).unwrap();
        }
        tree
    }

    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.0.path().to_str().unwrap())
    }

    async fn listing(&self, paths: &[&str], allow_empty: bool) -> Result<Listing> {
        let paths: Vec<_> = paths.iter().map(|path| self.path(path)).collect();
        Listing::resolve(&paths, allow_empty).await
    }

    async fn list_from(&self, paths: &[&str], from: Option<Place>) -> Result<Vec<String>> {
        let mut walk = self.listing(paths, false).await?.walk(from);
        let mut found = Vec::new();
        while let Some(next) = walk.next().await? {
            found.push(next.file.path.strip_prefix(&self.path("")).unwrap().to_owned());
        }
        Ok(found)
    }

    async fn list(&self, paths: &[&str]) -> Result<Vec<String>> {
        self.list_from(paths, None).await
    }
}

#[tokio::test]
async fn a_listing_is_sorted_and_leaves_hidden_files_out() {
    let tree = Tree::new(&["b/2.csv", "b/1.csv", "a.csv", "b.csv", ".x.csv", "b/.git/3.csv", "c.txt"]);
    assert_eq!(tree.list(&["**/*.csv"]).await.unwrap(), ["a.csv", "b/1.csv", "b/2.csv", "b.csv"]);
    assert_eq!(tree.list(&[".x.csv"]).await.unwrap(), [".x.csv"]);
    assert_eq!(tree.list(&["b"]).await.unwrap(), ["b/1.csv", "b/2.csv"]);
    assert_eq!(tree.list(&["b/.git/*.csv"]).await.unwrap(), ["b/.git/3.csv"]);
}

#[tokio::test]
async fn every_place_of_a_listing_is_one_to_go_on_from() {
    let tree = Tree::new(&["a/x.csv", "a/y/z.csv", "a.csv", "b/c/d.csv", "b/c.csv", "e.csv"]);
    let paths = ["e.csv", "**/*.csv"];
    let all = tree.list(&paths).await.unwrap();
    assert_eq!(all, ["e.csv", "a/x.csv", "a/y/z.csv", "a.csv", "b/c/d.csv", "b/c.csv"]);
    for (index, path) in all.iter().enumerate() {
        let from = Place { root: index.min(1), path: tree.path(path) };
        assert_eq!(tree.list_from(&paths, Some(from)).await.unwrap(), all[index..], "{path}");
    }
}

#[tokio::test]
async fn a_file_that_several_paths_match_is_read_once() {
    let tree = Tree::new(&["a.csv", "b.csv", "c.csv"]);
    let paths = ["b.csv", "*.csv", "./a.csv", "{a,c}.csv", "b.csv"];
    assert_eq!(tree.list(&paths).await.unwrap(), ["b.csv", "a.csv", "c.csv"]);
}

#[tokio::test]
async fn a_name_with_wildcards_that_exists_is_meant_literally() {
    let tree = Tree::new(&["a[1].csv", "a1.csv"]);
    assert_eq!(tree.list(&["a[1].csv"]).await.unwrap(), ["a[1].csv"]);
}

#[tokio::test]
async fn a_missing_path_says_what_to_do() {
    let tree = Tree::new(&["a.csv"]);
    let error = tree.list(&["b.csv"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().ends_with("check `path`"), "{error}");
    for glob in ["*.parquet", "none/*.csv"] {
        let error = tree.list(&["a.csv", glob]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{glob}");
        let mut walk = tree.listing(&[glob], true).await.unwrap().walk(None);
        assert_eq!(walk.next().await.unwrap(), None, "{glob}");
    }
    let error = tree.list(&["*.parquet"]).await.unwrap_err().to_string();
    assert!(error.contains("no file matches the path") && error.contains("allow_empty: true"), "{error}");
    let error = tree.list(&["a.csv/b.csv"]).await.unwrap_err();
    assert!(error.to_string().contains("a part of the path is a file"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_but_never_in_circles() {
    use std::os::unix::fs::symlink;
    let tree = Tree::new(&["a/x.csv", "other/y.csv"]);
    symlink(tree.path("a"), tree.path("a/up")).unwrap();
    symlink(tree.path(""), tree.path("a/top")).unwrap();
    symlink(tree.path("other"), tree.path("a/link")).unwrap();
    assert_eq!(tree.list(&["a/**/*.csv"]).await.unwrap(), ["a/link/y.csv", "a/top/other/y.csv", "a/x.csv"]);
    symlink(tree.path("nowhere"), tree.path("a/z.csv")).unwrap();
    let error = tree.list(&["a/*.csv"]).await.unwrap_err().to_string();
    assert!(error.contains("the link leads nowhere"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_name_that_is_not_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::new(&["a.csv"]);
    write(tree.0.path().join(std::ffi::OsStr::from_bytes(b"\xff.csv")), "").unwrap();
    assert_eq!(tree.list(&["a.*"]).await.unwrap(), ["a.csv"]);
    let error = tree.list(&["*.csv"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
