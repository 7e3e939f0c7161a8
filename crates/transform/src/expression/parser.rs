//! Tokens to expressions, by recursive descent: `or` binds least, then `and`, `not`, comparisons, values.

use super::lexer::{Kind, Token, is_keyword, tokens};
use super::{Comparison, Expression, Literal, Node, Problem};

/// Deeper nesting is a mistake or an attack on the stack.
const MAX_DEPTH: usize = 100;

pub(crate) fn parse(text: &str) -> Result<Expression, Problem> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let expression = parser.or()?;
    match parser.peek() {
        Kind::End => Ok(expression),
        Kind::Symbol(symbol) if Comparison::of_symbol(symbol).is_some() => {
            Err(parser.problem("only two values can be compared at a time: join comparisons with `and`"))
        }
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

type Parsed = Result<Expression, Problem>;

impl Parser {
    fn or(&mut self) -> Parsed {
        self.joined("or", Self::and, Node::Or)
    }

    fn and(&mut self) -> Parsed {
        self.joined("and", Self::not, Node::And)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Parsed,
        node: fn(Vec<Expression>) -> Node,
    ) -> Parsed {
        let first = part(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![first];
        while self.accept_word(word) {
            parts.push(part(self)?);
        }
        Ok(Expression { node: node(parts), at })
    }

    fn not(&mut self) -> Parsed {
        let at = self.at();
        if !self.accept_word("not") {
            return self.predicate();
        }
        let value = self.nested(Self::not)?;
        Ok(Expression { node: Node::Not(Box::new(value)), at })
    }

    /// A value with what may follow it: a comparison, `in`, `between`, `like`, `is null`, or nothing.
    fn predicate(&mut self) -> Parsed {
        let value = self.value()?;
        let at = self.at();
        if let Kind::Symbol(symbol) = self.peek()
            && let Some(operator) = Comparison::of_symbol(symbol)
        {
            self.next += 1;
            let (left, right) = (Box::new(value), Box::new(self.value()?));
            return Ok(Expression { node: Node::Compare { left, operator, right }, at });
        }
        if self.accept_word("is") {
            let negated = self.accept_word("not");
            self.expect_word("null")?;
            return Ok(Expression { node: Node::IsNull { value: Box::new(value), negated }, at });
        }
        let negated = self.accept_word("not");
        let value = match self.membership(value, negated)? {
            Ok(node) => return Ok(Expression { node, at }),
            Err(value) => value,
        };
        if negated { Err(self.expected("`in`, `between`, `like` or `ilike`")) } else { Ok(value) }
    }

    /// What may be negated behind a value; gives the value back when none of it follows.
    fn membership(&mut self, value: Expression, negated: bool) -> Result<Result<Node, Expression>, Problem> {
        if self.accept_word("in") {
            let (value, items) = (Box::new(value), self.items()?);
            return Ok(Ok(Node::In { value, items, negated }));
        }
        if self.accept_word("between") {
            let low = Box::new(self.value()?);
            self.expect_word("and")?;
            let high = Box::new(self.value()?);
            return Ok(Ok(Node::Between { value: Box::new(value), low, high, negated }));
        }
        let ignore_case = self.is_word("ilike");
        if self.accept_word("like") || self.accept_word("ilike") {
            let pattern = Box::new(self.value()?);
            if self.is_word("escape") {
                return Err(self.problem("`escape` is not supported: a backslash escapes % and _"));
            }
            return Ok(Ok(Node::Like { value: Box::new(value), pattern, ignore_case, negated }));
        }
        Ok(Err(value))
    }

    fn items(&mut self) -> Result<Vec<Expression>, Problem> {
        self.expect_symbol("(")?;
        let mut items = vec![self.value()?];
        while self.accept_symbol(",") {
            items.push(self.value()?);
        }
        if !self.accept_symbol(")") {
            return Err(self.expected("`,` or `)`"));
        }
        Ok(items)
    }

    fn value(&mut self) -> Parsed {
        let at = self.at();
        if self.accept_symbol("(") {
            let inner = self.nested(Self::or)?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        let node = match self.peek().clone() {
            Kind::Symbol(sign @ ("-" | "+")) => {
                self.next += 1;
                let Kind::Number(number) = self.peek().clone() else {
                    return Err(self.expected("a number"));
                };
                Node::Literal(Literal::Number(if sign == "-" { format!("-{number}") } else { number }))
            }
            Kind::Number(number) => Node::Literal(Literal::Number(number)),
            Kind::Text(text) => Node::Literal(Literal::Text(text)),
            Kind::Quoted(_) => return self.column(),
            Kind::Word(word) => return self.word(&word),
            _ => return Err(self.expected("a column or a value")),
        };
        self.next += 1;
        Ok(Expression { node, at })
    }

    fn word(&mut self, word: &str) -> Parsed {
        let at = self.at();
        let literal = match word.to_ascii_lowercase().as_str() {
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            "null" => Literal::Null,
            // Common names of columns too: they are literals only in front of a text.
            kind @ ("date" | "timestamp") => {
                let Some(Kind::Text(text)) = self.tokens.get(self.next + 1).map(|token| token.kind.clone())
                else {
                    return self.column();
                };
                self.next += 1;
                let literal = if kind == "date" { Literal::Date(text) } else { Literal::Timestamp(text) };
                literal.array().map_err(|message| self.problem(message))?;
                literal
            }
            _ => return self.column(),
        };
        self.next += 1;
        Ok(Expression { node: Node::Literal(literal), at })
    }

    fn column(&mut self) -> Parsed {
        let at = self.at();
        let mut path = vec![self.name("a column or a value")?];
        while self.accept_symbol(".") {
            path.push(self.name("the name of a field")?);
        }
        if self.accept_symbol("(") {
            self.next -= 1;
            return Err(self.problem("functions are not supported"));
        }
        Ok(Expression { node: Node::Column(path), at })
    }

    fn name(&mut self, expected: &str) -> Result<String, Problem> {
        let name = match self.peek() {
            Kind::Quoted(name) => name.clone(),
            Kind::Word(word) if !is_keyword(word) => word.clone(),
            _ => return Err(self.expected(expected)),
        };
        self.next += 1;
        Ok(name)
    }

    fn nested(&mut self, parse: fn(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.problem(format!("this is nested more than {MAX_DEPTH} levels deep")));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn peek(&self) -> &Kind {
        // The last token is the end, and nothing steps over it.
        &self.tokens[self.next].kind
    }

    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn is_word(&self, expected: &str) -> bool {
        matches!(self.peek(), Kind::Word(word) if word.eq_ignore_ascii_case(expected))
    }

    fn accept_word(&mut self, expected: &str) -> bool {
        let accepted = self.is_word(expected);
        self.next += usize::from(accepted);
        accepted
    }

    fn expect_word(&mut self, expected: &str) -> Result<(), Problem> {
        if self.accept_word(expected) { Ok(()) } else { Err(self.expected(&format!("`{expected}`"))) }
    }

    fn accept_symbol(&mut self, expected: &str) -> bool {
        let accepted = matches!(self.peek(), Kind::Symbol(symbol) if *symbol == expected);
        self.next += usize::from(accepted);
        accepted
    }

    fn expect_symbol(&mut self, expected: &str) -> Result<(), Problem> {
        if self.accept_symbol(expected) { Ok(()) } else { Err(self.expected(&format!("`{expected}`"))) }
    }

    fn expected(&self, what: &str) -> Problem {
        self.problem(format!("expected {what}, found {}", self.peek().describe()))
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.at(), message)
    }
}
