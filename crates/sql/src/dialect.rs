//! How identifiers and texts are written so that they mean themselves, whatever they hold.

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL, with `standard_conforming_strings` on, as it is by default.
    Postgres,
    /// MySQL and MariaDB, without `ANSI_QUOTES` and without `NO_BACKSLASH_ESCAPES`.
    MySql,
}

impl Dialect {
    /// An identifier in quotes.
    ///
    /// ```
    /// use towpath_sql::Dialect;
    ///
    /// assert_eq!(Dialect::Postgres.identifier("a\"b"), r#""a""b""#);
    /// assert_eq!(Dialect::MySql.identifier("a`b"), "`a``b`");
    /// ```
    pub fn identifier(self, name: &str) -> String {
        let quote = self.quote();
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push(quote);
        for character in name.chars() {
            if character == quote {
                quoted.push(quote);
            }
            quoted.push(character);
        }
        quoted.push(quote);
        quoted
    }

    /// Identifiers in quotes, with commas between them.
    pub fn identifiers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> String {
        names.into_iter().map(|name| self.identifier(name)).collect::<Vec<_>>().join(", ")
    }

    /// A text in quotes.
    ///
    /// Prefer parameters where a statement can have them; `COPY` and definitions cannot.
    ///
    /// ```
    /// use towpath_sql::Dialect;
    ///
    /// assert_eq!(Dialect::Postgres.literal(r"it's \ here"), r"'it''s \ here'");
    /// assert_eq!(Dialect::MySql.literal(r"it's \ here"), r"'it''s \\ here'");
    /// ```
    pub fn literal(self, text: &str) -> String {
        let escapes_backslashes = self == Self::MySql;
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('\'');
        for character in text.chars() {
            if character == '\'' || (escapes_backslashes && character == '\\') {
                quoted.push(character);
            }
            quoted.push(character);
        }
        quoted.push('\'');
        quoted
    }

    /// What stands round an identifier.
    pub(crate) const fn quote(self) -> char {
        match self {
            Self::Postgres => '"',
            Self::MySql => '`',
        }
    }

    /// How many bytes an identifier may have. Postgres cuts longer ones without an error.
    pub const fn longest_identifier(self) -> usize {
        match self {
            Self::Postgres => 63,
            Self::MySql => 64,
        }
    }
}
