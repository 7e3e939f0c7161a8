//! Colours, where somebody looks at them.

use std::env;
use std::io::IsTerminal as _;

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    enabled: bool,
}

impl Paint {
    /// Colours on standard error if it is a terminal and nobody asked for none.
    pub(crate) fn stderr() -> Self {
        Self { enabled: std::io::stderr().is_terminal() && Self::is_wanted() }
    }

    /// The same for standard output.
    pub(crate) fn stdout() -> Self {
        Self { enabled: std::io::stdout().is_terminal() && Self::is_wanted() }
    }

    /// No colours.
    pub(crate) const fn none() -> Self {
        Self { enabled: false }
    }

    /// <https://no-color.org>
    fn is_wanted() -> bool {
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        !no_color && env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether there are colours.
    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.enabled { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_the_text_stays_as_it_is() {
        assert_eq!(Paint::none().bad("no"), "no");
        assert_eq!(Paint { enabled: true }.bad("no"), "\u{1b}[1;31mno\u{1b}[0m");
    }
}
