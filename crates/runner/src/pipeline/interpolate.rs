//! `${NAME}`, `${NAME:-default}` and `${file:PATH}` in scalars; `$${` is a plain `${`.

use std::path::Path;

use super::node::Hidden;

/// Where values come from.
pub(crate) trait Environment {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// Of the operating system.
    fn file(&self, path: &Path) -> std::io::Result<String>;
}

/// The variables and files of this process.
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// A reference that cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfilled {
    /// The reference as it is written, to find it in the text.
    pub(crate) reference: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

/// A text after its references were filled in.
#[derive(Debug, PartialEq)]
pub(crate) struct Filled {
    pub(crate) text: String,
    /// What must not be shown; none if nothing came from outside.
    pub(crate) hidden: Option<Hidden>,
}

/// Fills in the references of a scalar.
///
/// # Errors
/// The first reference that cannot be filled in.
pub(crate) fn interpolate(source: &str, environment: &dyn Environment) -> Result<Filled, Unfilled> {
    let (mut text, mut parts) = (String::new(), Vec::new());
    let mut rest = source;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        text.push_str(before);
        let Some(end) = rest[start..].find('}') else {
            return Err(Unfilled {
                reference: rest[start..].to_owned(),
                message: "`${` is never closed".to_owned(),
                help: Some("write `$${` for a plain `${`".to_owned()),
            });
        };
        let reference = &rest[start..=start + end];
        let value = fill(reference, environment)?;
        text.push_str(&value);
        parts.push((reference.to_owned(), value));
        rest = &rest[start + end + 1..];
    }
    text.push_str(rest);
    let hidden =
        (!parts.is_empty()).then(|| Hidden { source: source.to_owned(), filled: text.clone(), parts });
    Ok(Filled { text, hidden })
}

fn fill(reference: &str, environment: &dyn Environment) -> Result<String, Unfilled> {
    let inner = &reference[2..reference.len() - 1];
    let unfilled =
        |message: String, help: Option<String>| Unfilled { reference: reference.to_owned(), message, help };
    if let Some(path) = inner.strip_prefix("file:") {
        let text = environment.file(Path::new(path));
        let text = text.map_err(|error| unfilled(format!("cannot read `{path}`: {error}"), None))?;
        return Ok(without_line_end(&text).to_owned());
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        let message = format!("`{name}` is not the name of a variable");
        let help = "write `${NAME}`, `${NAME:-default}` or `${file:PATH}`, and `$${` for a plain `${`";
        return Err(unfilled(message, Some(help.to_owned())));
    }
    match (environment.variable(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(unfilled(
            format!("the variable `{name}` is not set"),
            Some(format!("set it, or write a default: `${{{name}:-default}}`")),
        )),
    }
}

fn is_name(name: &str) -> bool {
    let part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !name.is_empty() && name.chars().all(part) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Files of secrets often end with a line break that is no part of the secret.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Variables and files of a test.
    #[derive(Default)]
    pub(crate) struct Fixed(pub(crate) BTreeMap<&'static str, &'static str>);

    impl Environment for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.get(name).map(ToString::to_string)
        }

        fn file(&self, path: &Path) -> std::io::Result<String> {
            let text = path.to_str().and_then(|path| self.0.get(path));
            text.map(ToString::to_string).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        }
    }

    fn filled(source: &str) -> Result<String, String> {
        let environment = Fixed([("TOKEN", "s3cret"), ("EMPTY", ""), ("run/token", "from file\n")].into());
        interpolate(source, &environment).map(|filled| filled.text).map_err(|unfilled| unfilled.message)
    }

    #[test]
    fn variables_defaults_and_files_are_filled_in() {
        for (source, expected) in [
            ("plain", "plain"),
            ("${TOKEN}", "s3cret"),
            ("a ${TOKEN} b ${TOKEN}", "a s3cret b s3cret"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${file:run/token}", "from file"),
            ("$${TOKEN} $5 {stream}", "${TOKEN} $5 {stream}"),
        ] {
            assert_eq!(filled(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        assert_eq!(filled("${NONE}"), Err("the variable `NONE` is not set".to_owned()));
        assert_eq!(filled("${TOKEN"), Err("`${` is never closed".to_owned()));
        assert_eq!(filled("${a-b}"), Err("`a-b` is not the name of a variable".to_owned()));
        assert_eq!(filled("${file:gone}"), Err("cannot read `gone`: entity not found".to_owned()));
    }

    #[test]
    fn what_was_filled_in_is_remembered_and_never_printed() {
        let filled = interpolate("Bearer ${TOKEN}", &Fixed([("TOKEN", "s3cret")].into())).unwrap();
        let hidden = filled.hidden.unwrap();
        assert_eq!(hidden.source, "Bearer ${TOKEN}");
        assert_eq!(hidden.parts, [("${TOKEN}".to_owned(), "s3cret".to_owned())]);
        assert!(!format!("{hidden:?}").contains("s3cret"));
    }
}
