//! What is wrong with a pipeline, shown where it stands.

use std::fmt;

use super::node::{Node, Span};
use crate::output::paint::Paint;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) span: Span,
    /// What is wrong.
    pub(crate) message: String,
    /// What stands beside the caret.
    pub(crate) label: Option<String>,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl Problem {
    /// Something that is wrong at this place.
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, help: None }
    }

    /// Says something beside the caret.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Asks whether a name was meant.
    pub(crate) fn suggest(self, name: Option<impl fmt::Display>) -> Self {
        match name {
            Some(name) => self.label(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows the text of the file instead of what was filled in below this node.
    pub(crate) fn hiding(mut self, node: &Node) -> Self {
        for hidden in node.hidden() {
            self.hide(&hidden.filled, &hidden.source);
            for (reference, value) in &hidden.parts {
                self.hide(value, reference);
            }
        }
        self
    }

    fn hide(&mut self, value: &str, source: &str) {
        // A short value inside of a word is most likely no copy of it; between quotes it is.
        const MIN_BARE: usize = 4;
        let texts = [Some(&mut self.message), self.label.as_mut(), self.help.as_mut()];
        for text in texts.into_iter().flatten() {
            for (open, close) in [("`", "`"), ("\"", "\""), ("'", "'")] {
                *text = text.replace(&format!("{open}{value}{close}"), &format!("{open}{source}{close}"));
            }
            *text = text.replace(&format!("{value:?}"), &format!("{source:?}"));
            if value.len() >= MIN_BARE {
                *text = text.replace(value, source);
                *text = text.replace(value.escape_debug().to_string().as_str(), source);
            }
        }
    }
}

/// All that is wrong with a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems {
    name: String,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    /// The problems of the text of this name, in the order of their places, each once.
    pub(crate) fn new(name: &str, text: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| (problem.span.line, problem.span.column));
        list.dedup();
        Self { name: name.to_owned(), text: text.to_owned(), list }
    }

    /// The problems for a terminal of this kind.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let parts: Vec<_> = self.list.iter().map(|problem| self.render_one(problem, paint)).collect();
        parts.join("\n")
    }

    fn render_one(&self, problem: &Problem, paint: Paint) -> String {
        let Span { line, column, width } = problem.span;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let source = self.text.lines().nth(line - 1).unwrap_or_default().replace('\t', " ");
        let carets = "^".repeat(width.min(source.chars().count().saturating_sub(column - 1)).max(1));
        // What is two columns wide on the screen needs two spaces below.
        let before: String = source.chars().take(column - 1).collect();
        let indent = " ".repeat(console::measure_text_width(&before));
        let bar = paint.dim("|");
        let mut lines = vec![
            format!("{}: {}", paint.bad("error"), paint.bold(&problem.message)),
            format!("{margin}{} {}:{line}:{column}", paint.dim("-->"), self.name),
            format!("{margin} {bar}"),
            format!("{} {bar} {source}", paint.dim(&number)),
        ];
        let label = problem.label.as_deref().map(|label| format!(" {label}")).unwrap_or_default();
        lines.push(format!("{margin} {bar} {indent}{}", paint.bad(&format!("{carets}{label}"))));
        lines.extend(problem.help.iter().map(|help| format!("{margin} {} help: {help}", paint.dim("="))));
        lines.join("\n") + "\n"
    }

    #[cfg(test)]
    pub(crate) fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Paint::none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_line_caret_and_help() {
        let text = "name: retail\nstreams:\n  sales:\n    cursr: updated_at\n";
        let span = Span { line: 4, column: 5, width: 5 };
        let problem = Problem::new(span, "unknown field `cursr`")
            .suggest(Some("cursor"))
            .help("there are source, sink and cursor");
        let expected = "\
error: unknown field `cursr`
 --> retail.yaml:4:5
  |
4 |     cursr: updated_at
  |     ^^^^^ did you mean `cursor`?
  = help: there are source, sink and cursor
";
        assert_eq!(Problems::new("retail.yaml", text, vec![problem]).to_string(), expected);
    }

    #[test]
    fn carets_stand_below_wide_characters_and_end_with_the_line() {
        let span = Span { line: 1, column: 7, width: 99 };
        let problems = Problems::new("a.yaml", "河: \"x\" y", vec![Problem::new(span, "no")]);
        let expected = "error: no\n --> a.yaml:1:7\n  |\n1 | 河: \"x\" y\n  |        ^^\n";
        assert_eq!(problems.to_string(), expected);
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_once() {
        let at = |line| Problem::new(Span { line, column: 1, width: 1 }, "no");
        let problems = Problems::new("a.yaml", "a\nb\n", vec![at(2), at(1), at(2)]);
        assert_eq!(problems.list(), [at(1), at(2)]);
    }
}
