//! Where files go that are written as they are.

use towpath_core::{Error, Result};

use super::{FileName, Template};

/// The name that stands for a file while the folder's path is read.
const ANY: &str = "_";

/// A folder for files with names of their own.
#[derive(Debug, Clone)]
pub struct ByteFolder {
    text: String,
    /// The folder with a name in it.
    template: Template,
}

impl ByteFolder {
    /// Reads the path of the options.
    ///
    /// # Errors
    /// `Config` says what is wrong with it.
    pub fn parse(path: &str) -> Result<Self> {
        let trimmed = path.trim_end_matches('/');
        let folder = if trimmed.is_empty() && !path.is_empty() { "/" } else { trimmed };
        let wrong = |message: &str, help: &str| Err(Error::config(message).detail("path", path).help(help));
        if path.is_empty() {
            return wrong("the path names no folder", "write for example `path: downloads/`");
        }
        if folder.contains("{part}") || folder.contains("{run}") || folder.contains("{sequence}") {
            return wrong(
                "with `format: bytes` the path is a folder, in which files have names of their own",
                "leave out all placeholders but `{stream}`",
            );
        }
        let template = Template::parse(&format!("{}/{ANY}", folder.trim_end_matches('/')))?;
        Ok(Self { text: path.to_owned(), template })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder in which everything lies.
    pub fn base(&self) -> &str {
        self.template.base()
    }

    /// A file's path below the base.
    pub fn path(&self, stream: &str, name: &str) -> String {
        let any = self.template.render(FileName { stream, run: "", part: 0, sequence: 0 }, "");
        format!("{}{name}", any.strip_suffix(ANY).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_folder_for_all_files_or_for_those_of_each_stream() {
        let found = |path: &str| {
            let folder = ByteFolder::parse(path).unwrap();
            (folder.base().to_owned(), folder.path("s", "a/b.iso"))
        };
        assert_eq!(found("downloads/"), ("downloads".to_owned(), "a/b.iso".to_owned()));
        assert_eq!(found("./x/{stream}"), ("./x".to_owned(), "s/a/b.iso".to_owned()));
        assert_eq!(found("/"), ("/".to_owned(), "a/b.iso".to_owned()));
        for path in ["", "x/{part}", "x/{run}/"] {
            assert!(ByteFolder::parse(path).is_err(), "{path}");
        }
    }
}
