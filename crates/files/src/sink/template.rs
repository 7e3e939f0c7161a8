//! Where files go: the path of the options, with its placeholders.

use towpath_core::{Error, Result};

use crate::names::encode;

/// A path with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    /// The folder before the first part with a placeholder; everything that is written lies in it.
    base: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Stream,
    Run,
    Part,
    Sequence,
}

/// What the placeholders of one file stand for.
#[derive(Debug, Clone, Copy)]
pub struct FileName<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The run's id.
    pub run: &'a str,
    /// The number of the writer in the run.
    pub part: u32,
    /// The number of the file within its writer.
    pub sequence: u32,
}

impl Template {
    /// Reads the path of the options.
    ///
    /// # Errors
    /// `Config` says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |message: String, help: &str| Error::config(message).detail("path", text).help(help);
        if text.ends_with('/') || text.is_empty() || matches!(text.rsplit('/').next(), Some("." | "..")) {
            let folder =
                if text.is_empty() || text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
            return Err(wrong(
                "the path names no file".to_owned(),
                &format!("write for example `{folder}{{part}}.parquet`"),
            ));
        }
        if text.contains(char::is_control) {
            return Err(wrong("the path holds a control character".to_owned(), "remove it"));
        }
        let first = text.find('{').unwrap_or(text.len());
        let (folder, rest) = match text[..first].rfind('/') {
            Some(slash) => text.split_at(slash + 1),
            None => ("", text),
        };
        if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            let message = "behind a placeholder, `.`, `..` and `//` are not allowed";
            return Err(wrong(message.to_owned(), "write the path without them"));
        }
        let pieces = pieces(rest).map_err(|(message, help)| wrong(message, help))?;
        let template = Self { text: text.to_owned(), base: folder_path(folder), pieces };
        if !template.has(&Piece::Part) && (template.has(&Piece::Run) || template.has(&Piece::Sequence)) {
            return Err(wrong(
                "the path needs `{part}`, because a run writes more than one file".to_owned(),
                "add `{part}` to the file name, or remove `{run}` and `{sequence}`",
            ));
        }
        Ok(template)
    }

    /// Whether it is exactly one file.
    pub fn is_plain(&self) -> bool {
        !self.has(&Piece::Part)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder in which all files lie, without `/` at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The path of a file below the base, in these partition folders.
    pub fn render(&self, name: FileName<'_>, folders: &str) -> String {
        let mut rendered = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Stream => rendered.push_str(&encode(name.stream)),
                Piece::Run => rendered.push_str(&encode(name.run)),
                Piece::Part => rendered.push_str(&self.part(name)),
                Piece::Sequence => rendered.push_str(&sequence(name)),
            }
        }
        if folders.is_empty() {
            return rendered;
        }
        match rendered.rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/{folders}/{file}"),
            None => format!("{folders}/{rendered}"),
        }
    }

    /// Whether the files of each stream have names of their own.
    pub fn names_stream(&self) -> bool {
        self.has(&Piece::Stream)
    }

    /// Whether a run may have given a file of this stream this path, below the base.
    pub fn could_be(&self, path: &str, stream: &str, run: &str) -> bool {
        self.fits(path, stream, &encode(run))
    }

    /// Whether any run may have.
    pub fn could_be_of(&self, path: &str, stream: &str) -> bool {
        self.fits(path, stream, &ANY_NAME.to_string())
    }

    fn fits(&self, path: &str, stream: &str, run: &str) -> bool {
        let mut pattern = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => pattern.push_str(text),
                Piece::Stream => pattern.push_str(&encode(stream)),
                Piece::Run => pattern.push_str(run),
                Piece::Part if self.has(&Piece::Run) => pattern.push(ANY_NUMBER),
                Piece::Part => {
                    pattern.push_str(run);
                    pattern.push('-');
                    pattern.push(ANY_NUMBER);
                }
                Piece::Sequence => pattern.push(ANY_NUMBER),
            }
        }
        let (folder, file) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
        let (in_folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let depth = if folder.is_empty() { 0 } else { folder.split('/').count() };
        let mut parts = in_folder.split('/').filter(|part| !part.is_empty());
        let beginning: Vec<_> = parts.by_ref().take(depth).collect();
        // What stands between is the folders of `partition_by`.
        fits(folder, &beginning.join("/")) && parts.all(|part| part.contains('=')) && fits(file, name)
    }

    /// The number of a file, with all that makes it unique and stands nowhere else in the path.
    fn part(&self, name: FileName<'_>) -> String {
        let mut part = format!("{:05}", name.part);
        if !self.has(&Piece::Run) {
            part = format!("{}-{part}", encode(name.run));
        }
        if !self.has(&Piece::Sequence) && name.sequence > 0 {
            part = format!("{part}-{}", sequence(name));
        }
        part
    }

    fn has(&self, piece: &Piece) -> bool {
        self.pieces.contains(piece)
    }
}

/// Stands for a number, or for two of them with a hyphen between. No path holds it.
const ANY_NUMBER: char = '\0';

/// Stands for a name of any kind. No path holds it.
const ANY_NAME: char = '\u{1}';

/// Whether a text is the pattern, with something for what stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once([ANY_NUMBER, ANY_NAME]) else { return pattern == text };
    let is_number = pattern[before.len()..].starts_with(ANY_NUMBER);
    let stands = |c: char| if is_number { c.is_ascii_digit() || c == '-' } else { c != '/' };
    text.strip_prefix(before).is_some_and(|text| {
        let ends = text.char_indices().take_while(|(_, c)| stands(*c)).map(|(at, c)| at + c.len_utf8());
        ends.into_iter().any(|end| fits(rest, &text[end..]))
    })
}

fn sequence(name: FileName<'_>) -> String {
    format!("{:04}", name.sequence)
}

fn folder_path(folder: &str) -> String {
    match folder {
        "" => ".".into(),
        "/" => "/".into(),
        folder => folder.trim_end_matches('/').into(),
    }
}

type Wrong = (String, &'static str);

fn pieces(text: &str) -> Result<Vec<Piece>, Wrong> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            pieces.push(Piece::Text(rest[..open].to_owned()));
        }
        let close = rest[open..]
            .find('}')
            .ok_or_else(|| ("a `{` of the path is not closed".to_owned(), "add the `}`"))?;
        let name = &rest[open + 1..open + close];
        pieces.push(match name {
            "stream" => Piece::Stream,
            "run" => Piece::Run,
            "part" => Piece::Part,
            "sequence" => Piece::Sequence,
            _ => {
                return Err((
                    format!("`{{{name}}}` is no placeholder"),
                    "there are `{stream}`, `{run}`, `{part}` and `{sequence}`",
                ));
            }
        });
        rest = &rest[open + close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: FileName<'_> = FileName { stream: "orders", run: "r1", part: 3, sequence: 0 };

    fn render(text: &str, name: FileName<'_>) -> String {
        Template::parse(text).unwrap().render(name, "")
    }

    #[test]
    fn a_path_without_a_part_is_one_file() {
        let plain = Template::parse("out/a.csv").unwrap();
        assert!(plain.is_plain());
        assert_eq!((plain.base(), plain.render(NAME, "").as_str()), ("out", "a.csv"));
        let named = Template::parse("out/{stream}/x.csv").unwrap();
        assert!(named.is_plain());
        assert_eq!((named.base(), named.render(NAME, "").as_str()), ("out", "orders/x.csv"));
        assert_eq!(Template::parse("a.csv").unwrap().base(), ".");
        assert_eq!(Template::parse("/a.csv").unwrap().base(), "/");
    }

    #[test]
    fn every_name_is_unique_whatever_placeholders_there_are() {
        let second = FileName { sequence: 1, ..NAME };
        assert_eq!(render("o/{part}.csv", NAME), "r1-00003.csv");
        assert_eq!(render("o/{part}.csv", second), "r1-00003-0001.csv");
        assert_eq!(render("o/{run}/{part}.csv", second), "r1/00003-0001.csv");
        assert_eq!(render("o/{stream}-{run}-{part}-{sequence}.csv", second), "orders-r1-00003-0001.csv");
    }

    #[test]
    fn partitions_come_before_the_file_name() {
        let template = Template::parse("lake/{stream}/{part}.csv").unwrap();
        assert_eq!(template.render(NAME, "day=1/x=2"), "orders/day=1/x=2/r1-00003.csv");
    }

    #[test]
    fn the_files_of_a_run_are_told_from_all_others() {
        for (text, folders) in [
            ("o/{part}.csv", ""),
            ("o/{stream}/{run}/{part}.csv", "day=1/x=2"),
            ("o/{stream}-{run}-{part}-{sequence}.csv.gz", ""),
            ("o/x/{stream}/{part}.csv", "day=1"),
            ("o/{stream}.csv", ""),
        ] {
            let template = Template::parse(text).unwrap();
            for sequence in [0, 1, 12_345] {
                let path = template.render(FileName { sequence, ..NAME }, folders);
                assert!(template.could_be(&path, NAME.stream, NAME.run), "{path}");
                let of_others = template.could_be(&path, "other", NAME.run);
                assert_eq!(of_others, !template.names_stream(), "{path}");
                assert!(template.is_plain() || !template.could_be(&path, NAME.stream, "r2"), "{path}");
                assert!(!template.could_be(&format!("y/{path}"), NAME.stream, NAME.run), "{path}");
                assert!(template.could_be_of(&path, NAME.stream), "{path}");
                assert!(!template.could_be_of(&format!("y/{path}"), NAME.stream), "{path}");
                assert!(!template.could_be(&format!("{path}.tmp"), NAME.stream, NAME.run), "{path}");
            }
        }
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        let name = FileName { stream: "../../etc", run: "/x", ..NAME };
        assert_eq!(render("o/{stream}/{part}.csv", name), "%2E.%2F..%2Fetc/%2Fx-00003.csv");
    }

    #[test]
    fn a_wrong_path_says_what_to_write() {
        for (text, expected) in [
            ("out/", "the path names no file (path: out/); write for example `out/{part}.parquet`"),
            ("out/{parts}.csv", "`{parts}` is no placeholder"),
            ("out/{part.csv", "a `{` of the path is not closed"),
            ("out/{run}.csv", "the path needs `{part}`"),
            ("out/{stream}/../{part}.csv", "behind a placeholder"),
            ("out/a\n.csv", "a control character"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
