//! Types as the server writes them, taken apart: `decimal(10,2) unsigned`, `enum('a','b')`.
//!
//! They also come from files that others wrote, so nothing of their text goes into a statement: it is read into parts, and
//! written anew from those.

/// The parts of a declaration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// In lower case.
    pub(crate) name: String,
    arguments: Vec<Argument>,
    pub(crate) unsigned: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Argument {
    Number(u32),
    Text(String),
}

impl Declaration {
    /// An argument that is a number.
    pub(crate) fn number(&self, index: usize) -> Option<u32> {
        match self.arguments.get(index)? {
            Argument::Number(number) => Some(*number),
            Argument::Text(_) => None,
        }
    }

    /// The arguments, if there are some and all are texts.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        let texts = self.arguments.iter().map(|argument| match argument {
            Argument::Text(text) => Some(text.clone()),
            Argument::Number(_) => None,
        });
        texts.collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty())
    }
}

/// Reads a declaration; `None` for what is none, as a whole.
pub(crate) fn parse(declared: &str) -> Option<Declaration> {
    let text = declared.trim();
    let end = text.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut arguments = Vec::new();
    if let Some(behind) = rest.strip_prefix('(') {
        rest = behind;
        loop {
            let (argument, behind) = argument(rest.trim_start())?;
            arguments.push(argument);
            let behind = behind.trim_start();
            let Some(more) = behind.strip_prefix(',') else {
                rest = behind.strip_prefix(')')?;
                break;
            };
            rest = more;
        }
    }
    let mut unsigned = false;
    for word in rest.split_ascii_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "unsigned" => unsigned = true,
            // It only says how a client should show it.
            "zerofill" => {}
            _ => return None,
        }
    }
    (!name.is_empty()).then(|| Declaration { name: name.to_ascii_lowercase(), arguments, unsigned })
}

fn argument(text: &str) -> Option<(Argument, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return quoted_text(quoted).map(|(text, rest)| (Argument::Text(text), rest));
    }
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((Argument::Number(digits.parse().ok()?), rest))
}

/// Up to the closing quote. The server doubles quotes, and leaves backslashes as they are.
fn quoted_text(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('\'')?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(behind) => {
                value.push('\'');
                rest = behind;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_taken_apart() {
        let declaration = parse("DECIMAL(10, 2) unsigned zerofill").unwrap();
        assert_eq!((declaration.name.as_str(), declaration.unsigned), ("decimal", true));
        assert_eq!((declaration.number(0), declaration.number(1)), (Some(10), Some(2)));
        let values = parse(r"enum('it''s','a,b)','back\slash')").unwrap().texts().unwrap();
        assert_eq!(values, ["it's", "a,b)", r"back\slash"]);
    }

    #[test]
    fn what_is_no_declaration_is_none() {
        for text in ["", "(3)", "int(", "int(x)", "enum('a", "int not null", "varchar(1)); drop table x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
