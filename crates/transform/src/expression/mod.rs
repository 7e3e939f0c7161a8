//! Expressions of `filter`: what they are, how they print, how errors point into them.

mod coerce;
mod evaluate;
mod lexer;
mod literal;
mod parser;
mod predicate;
#[cfg(test)]
mod tests;

use std::fmt;

use towpath_core::{Error, ErrorKind};

pub(crate) use coerce::positive_zeros;
pub(crate) use evaluate::Evaluator;
pub(crate) use literal::Literal;
pub(crate) use parser::parse;
pub(crate) use predicate::predicate;

/// An expression and where it stands in the text. Two are equal when they say the same, wherever they stand.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub(crate) node: Node,
    /// The byte at which an error would point.
    pub(crate) at: usize,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A column, or a field of one.
    Column(Vec<String>),
    Literal(Literal),
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare {
        left: Box<Expression>,
        operator: Comparison,
        right: Box<Expression>,
    },
    In {
        value: Box<Expression>,
        items: Vec<Expression>,
        negated: bool,
    },
    Between {
        value: Box<Expression>,
        low: Box<Expression>,
        high: Box<Expression>,
        negated: bool,
    },
    Like {
        value: Box<Expression>,
        pattern: Box<Expression>,
        ignore_case: bool,
        negated: bool,
    },
    IsNull {
        value: Box<Expression>,
        negated: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The comparison that says the same with its sides exchanged.
    fn flipped(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    fn of_symbol(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "=" => Self::Equal,
            "!=" | "<>" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }
}

impl Expression {
    /// Every column that the expression names.
    pub(crate) fn columns(&self) -> Vec<&Vec<String>> {
        match &self.node {
            Node::Column(path) => vec![path],
            _ => self.parts().into_iter().flat_map(Self::columns).collect(),
        }
    }

    fn parts(&self) -> Vec<&Self> {
        match &self.node {
            Node::Column(_) | Node::Literal(_) => Vec::new(),
            Node::Or(parts) | Node::And(parts) => parts.iter().collect(),
            Node::Not(value) | Node::IsNull { value, .. } => vec![value],
            Node::Compare { left, right, .. } => vec![left, right],
            Node::In { value, items, .. } => [value.as_ref()].into_iter().chain(items).collect(),
            Node::Between { value, low, high, .. } => vec![value, low, high],
            Node::Like { value, pattern, .. } => vec![value, pattern],
        }
    }

    /// How strongly it binds: a part that binds less than its place asks for needs parentheses.
    fn level(&self) -> u8 {
        match self.node {
            Node::Or(_) => 0,
            Node::And(_) => 1,
            Node::Not(_) => 2,
            Node::Column(_) | Node::Literal(_) => 4,
            _ => 3,
        }
    }
}

/// A part of an expression, in parentheses if it binds less than this.
struct Part<'a>(&'a Expression, u8);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.level() < self.1 { write!(f, "({})", self.0) } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = |part| Part(part, 4);
        let not = |negated: &bool| if *negated { "not " } else { "" };
        match &self.node {
            Node::Column(path) => join(f, ".", path.iter().map(|name| Name(name))),
            Node::Literal(literal) => literal.fmt(f),
            Node::Or(parts) => join(f, " or ", parts.iter().map(|part| Part(part, 1))),
            Node::And(parts) => join(f, " and ", parts.iter().map(|part| Part(part, 2))),
            Node::Not(value) => write!(f, "not {}", Part(value, 2)),
            Node::Compare { left, operator, right } => {
                write!(f, "{} {} {}", operand(left), operator.symbol(), operand(right))
            }
            Node::In { value, items, negated } => {
                write!(f, "{} {}in (", operand(value), not(negated))?;
                join(f, ", ", items.iter().map(operand))?;
                f.write_str(")")
            }
            Node::Between { value, low, high, negated } => {
                let (value, low, high) = (operand(value), operand(low), operand(high));
                write!(f, "{value} {}between {low} and {high}", not(negated))
            }
            Node::Like { value, pattern, ignore_case, negated } => {
                let like = if *ignore_case { "ilike" } else { "like" };
                write!(f, "{} {}{like} {}", operand(value), not(negated), operand(pattern))
            }
            Node::IsNull { value, negated } => write!(f, "{} is {}null", operand(value), not(negated)),
        }
    }
}

fn join<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    between: &str,
    parts: impl Iterator<Item = T>,
) -> fmt::Result {
    for (index, part) in parts.enumerate() {
        write!(f, "{}{part}", if index == 0 { "" } else { between })?;
    }
    Ok(())
}

/// A name, quoted where it must be.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if lexer::is_plain_name(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// An error that shows the line with a caret under the place.
    pub(crate) fn into_error(self, kind: ErrorKind, text: &str) -> Error {
        let start = text[..self.at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let indent = " ".repeat(text[start..self.at].chars().count());
        Error::new(kind, format!("{}\n  {line}\n  {indent}^", self.message))
    }
}
