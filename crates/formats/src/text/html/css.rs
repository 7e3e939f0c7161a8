//! Reads CSS selectors.

use std::str::FromStr;

use towpath_core::Error;

use super::selector::{Combinator, Complex, Nth, Selector, Simple, Test};

/// Selectors within selectors are no deeper than this.
const MAX_DEPTH: usize = 16;

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let parsed = parser.list().and_then(|selector| match parser.rest() {
            "" => Ok(selector),
            _ => Err("a combinator or a comma".to_owned()),
        });
        parsed.map_err(|expected| {
            let rest = parser.rest().chars().next();
            let found = rest.map_or_else(|| "it ends".to_owned(), |found| format!("`{found}` stands"));
            Error::config(format!("`{text}` is no CSS selector: {found} where {expected} should"))
                .detail("column", text[..parser.at].chars().count() + 1)
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What was expected.
type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn expect(&mut self, wanted: &str) -> Parsed<()> {
        if self.accept(wanted) { Ok(()) } else { Err(format!("`{wanted}`")) }
    }

    /// Whether there was white space.
    fn space(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start().len();
        self.at += length;
        length > 0
    }

    fn list(&mut self) -> Parsed<Selector> {
        let mut all = Vec::new();
        loop {
            self.space();
            all.push(self.complex()?);
            self.space();
            if !self.accept(",") {
                return Ok(Selector(all));
            }
        }
    }

    fn complex(&mut self) -> Parsed<Complex> {
        let mut compounds = vec![self.compound()?];
        let mut combinators = Vec::new();
        loop {
            let spaced = self.space();
            let combinator = match self.peek() {
                None | Some(',' | ')') => break,
                Some(_) => self.combinator(),
            };
            let combinator = match combinator {
                Some(combinator) => combinator,
                None if spaced => Combinator::Ancestor,
                None => return Err("a combinator or a comma".to_owned()),
            };
            self.space();
            combinators.push(combinator);
            compounds.push(self.compound()?);
        }
        let last = compounds.pop().ok_or_else(|| "a selector".to_owned())?;
        let before = combinators.into_iter().rev().zip(compounds.into_iter().rev()).collect();
        Ok(Complex { last, before })
    }

    fn combinator(&mut self) -> Option<Combinator> {
        let combinator = match self.peek()? {
            '>' => Combinator::Parent,
            '+' => Combinator::Previous,
            '~' => Combinator::Earlier,
            _ => return None,
        };
        self.at += 1;
        Some(combinator)
    }

    fn compound(&mut self) -> Parsed<Vec<Simple>> {
        let mut all = Vec::new();
        loop {
            let simple = match self.peek() {
                Some('*') if all.is_empty() => {
                    self.at += 1;
                    Simple::Any
                }
                Some('#') => {
                    self.at += 1;
                    Simple::Id(self.name()?)
                }
                Some('.') => {
                    self.at += 1;
                    Simple::Class(self.name()?)
                }
                Some('[') => self.attribute()?,
                Some(':') => self.pseudo()?,
                Some(character) if all.is_empty() && is_name(character) => Simple::Name(self.name()?),
                _ if all.is_empty() => {
                    return Err("a name, `.class`, `#id`, `[attribute]` or `:…`".to_owned());
                }
                _ => return Ok(all),
            };
            all.push(simple);
        }
    }

    fn name(&mut self) -> Parsed<String> {
        let mut name = String::new();
        while let Some(character) = self.peek() {
            if character == '\\' {
                self.at += 1;
                name.push(self.escaped()?);
            } else if is_name(character) {
                self.at += character.len_utf8();
                name.push(character);
            } else {
                break;
            }
        }
        if name.is_empty() { Err("a name".to_owned()) } else { Ok(name) }
    }

    /// The character behind a backslash: itself, or by its number.
    fn escaped(&mut self) -> Parsed<char> {
        let digits = self.rest().chars().take(6).take_while(char::is_ascii_hexdigit).count();
        if digits == 0 {
            let character = self.peek().ok_or_else(|| "a character".to_owned())?;
            self.at += character.len_utf8();
            return Ok(character);
        }
        let number = u32::from_str_radix(&self.rest()[..digits], 16).ok().and_then(char::from_u32);
        self.at += digits;
        if self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        number.ok_or_else(|| "the number of a character".to_owned())
    }

    fn attribute(&mut self) -> Parsed<Simple> {
        self.expect("[")?;
        self.space();
        let name = self.name()?.to_ascii_lowercase();
        self.space();
        let tests = [
            ("=", Test::Equals),
            ("~=", Test::Word),
            ("|=", Test::Dash),
            ("^=", Test::Begins),
            ("$=", Test::Ends),
            ("*=", Test::Contains),
        ];
        let test = tests.into_iter().find(|(sign, _)| self.accept(sign)).map(|(_, test)| test);
        let (mut value, mut ignores_case) = (String::new(), false);
        if test.is_some() {
            self.space();
            value = self.value()?;
            self.space();
            ignores_case = self.accept("i") || self.accept("I");
            self.space();
        }
        if !self.accept("]") {
            return Err(if test.is_some() { "`]`" } else { "`=` or `]`" }.to_owned());
        }
        Ok(Simple::Attribute { name, test: test.unwrap_or(Test::Exists), value, ignores_case })
    }

    fn value(&mut self) -> Parsed<String> {
        let Some(quote) = self.peek().filter(|quote| matches!(quote, '"' | '\'')) else { return self.name() };
        self.at += 1;
        let mut value = String::new();
        loop {
            let character = self.peek().ok_or_else(|| format!("`{quote}`"))?;
            self.at += character.len_utf8();
            match character {
                '\\' => value.push(self.escaped()?),
                _ if character == quote => return Ok(value),
                _ => value.push(character),
            }
        }
    }

    fn pseudo(&mut self) -> Parsed<Simple> {
        let start = self.at;
        self.expect(":")?;
        let name = self.name()?.to_ascii_lowercase();
        let first = |from_end, of_type| Simple::Nth(Nth { step: 0, offset: 1, from_end, of_type });
        let only = |of_type| {
            let both = vec![first(false, of_type), first(true, of_type)];
            Simple::Is(Selector(vec![Complex { last: both, before: Vec::new() }]))
        };
        let simple = match name.as_str() {
            "scope" => Simple::Scope,
            "root" => Simple::Root,
            "empty" => Simple::Empty,
            "first-child" => first(false, false),
            "last-child" => first(true, false),
            "first-of-type" => first(false, true),
            "last-of-type" => first(true, true),
            "only-child" => only(false),
            "only-of-type" => only(true),
            "not" => Simple::Not(self.within(Self::list)?),
            "is" | "where" => Simple::Is(self.within(Self::list)?),
            "has" => Simple::Has(self.within(Self::relative)?),
            "nth-child" => self.nth(false, false)?,
            "nth-last-child" => self.nth(true, false)?,
            "nth-of-type" => self.nth(false, true)?,
            "nth-last-of-type" => self.nth(true, true)?,
            _ => {
                self.at = start;
                return Err("a pseudo-class that we know".to_owned());
            }
        };
        Ok(simple)
    }

    /// What stands in parentheses.
    fn within<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("something less nested".to_owned());
        }
        self.expect("(")?;
        let parsed = parse(self)?;
        self.space();
        self.expect(")")?;
        self.depth -= 1;
        Ok(parsed)
    }

    fn relative(&mut self) -> Parsed<Vec<(Combinator, Selector)>> {
        let mut all = Vec::new();
        loop {
            self.space();
            let stands = self.combinator().unwrap_or(Combinator::Ancestor);
            self.space();
            all.push((stands, Selector(vec![self.complex()?])));
            self.space();
            if !self.accept(",") {
                return Ok(all);
            }
        }
    }

    fn nth(&mut self, from_end: bool, of_type: bool) -> Parsed<Simple> {
        let (step, offset) = self.within(|parser| {
            let end = parser.rest().find(')').ok_or_else(|| "`)`".to_owned())?;
            let text: String = parser.rest()[..end].chars().filter(|c| !c.is_whitespace()).collect();
            let found = an_plus_b(&text.to_ascii_lowercase());
            let found = found.ok_or_else(|| "`odd`, `even`, or something like `2n+1`".to_owned())?;
            parser.at += end;
            Ok(found)
        })?;
        Ok(Simple::Nth(Nth { step, offset, from_end, of_type }))
    }
}

fn an_plus_b(text: &str) -> Option<(i64, i64)> {
    match text {
        "odd" => return Some((2, 1)),
        "even" => return Some((2, 0)),
        _ => {}
    }
    let Some((step, offset)) = text.split_once('n') else { return Some((0, text.parse().ok()?)) };
    let step = match step {
        "" | "+" => 1,
        "-" => -1,
        step => step.parse().ok()?,
    };
    let offset = if offset.is_empty() { 0 } else { offset.parse().ok()? };
    Some((step, offset))
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '\\') || !character.is_ascii()
}
