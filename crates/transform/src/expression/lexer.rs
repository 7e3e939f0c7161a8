//! Text to tokens.

use super::Problem;

/// A token and the byte at which it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A name or keyword.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// Text in single quotes.
    Text(String),
    Number(String),
    Symbol(&'static str),
    End,
}

impl Kind {
    /// How an error calls it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Quoted(name) => format!("`\"{name}\"`"),
            Self::Text(text) => format!("`'{text}'`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer ones first.
const SYMBOLS: [&str; 13] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ".", "-", "+"];

/// What people write who think of another language, and what it is here.
const FOREIGN: [(&str, &str); 4] = [("==", "="), ("&&", "and"), ("||", "or"), ("!", "not")];

/// Words that are never names of columns, unless in double quotes.
const KEYWORDS: [&str; 12] =
    ["and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false", "escape"];

pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// Whether a name means itself without quotes.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.starts_with(starts_name) && name.chars().all(continues_name) && !is_keyword(name)
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let (kind, length) = token(&text[at..], at)?;
        let end = kind == Kind::End;
        tokens.push(Token { kind, at });
        at += length;
        if end {
            return Ok(tokens);
        }
    }
}

/// The first token of the rest, and how many bytes it takes.
fn token(rest: &str, at: usize) -> Result<(Kind, usize), Problem> {
    let Some(first) = rest.chars().next() else { return Ok((Kind::End, 0)) };
    if first == '\'' || first == '"' {
        let (content, length) = quoted(rest, first)
            .ok_or_else(|| Problem::new(at, format!("the closing {first} of this is missing")))?;
        return Ok((if first == '"' { Kind::Quoted(content) } else { Kind::Text(content) }, length));
    }
    if first.is_ascii_digit() {
        let length = number(rest);
        if let Some(next) = rest[length..].chars().next().filter(|c| continues_name(*c)) {
            return Err(Problem::new(at + length, format!("`{next}` cannot follow a number")));
        }
        return Ok((Kind::Number(rest[..length].to_owned()), length));
    }
    if starts_name(first) {
        let length = rest.find(|c| !continues_name(c)).unwrap_or(rest.len());
        return Ok((Kind::Word(rest[..length].to_owned()), length));
    }
    let foreign = FOREIGN.iter().find(|(symbol, _)| rest.starts_with(symbol) && !rest.starts_with("!="));
    if let Some((symbol, own)) = foreign {
        return Err(Problem::new(at, format!("`{symbol}` is not an operator: write `{own}`")));
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => Ok((Kind::Symbol(symbol), symbol.len())),
        None => Err(Problem::new(at, format!("`{first}` means nothing here"))),
    }
}

/// Text in quotes, in which a doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut from = 1;
    loop {
        let end = from + rest[from..].find(quote)?;
        content.push_str(&rest[from..end]);
        from = end + 1;
        if !rest[from..].starts_with(quote) {
            return Some((content, from));
        }
        content.push(quote);
        from += 1;
    }
}

/// The length of a number: `12`, `12.5`, `1.5e-3`.
fn number(rest: &str) -> usize {
    let digits = |from: usize| rest[from..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - from);
    let mut length = digits(0);
    if rest[length..].starts_with('.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}
