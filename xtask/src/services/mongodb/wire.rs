//! As much of the server's protocol as it takes to make a replica set and its first account.
//!
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const OP_MSG: u32 = 2013;
const HEADER: usize = 16;
/// An answer to one of these commands is much shorter.
const MOST: usize = 1 << 20;

/// How often, and how long after another, it is asked whether the member is the primary.
const LOOKS: usize = 1200;
const PAUSE: Duration = Duration::from_millis(50);

/// A connection from this machine, which may do everything as long as there is no account.
pub(super) struct Session {
    stream: TcpStream,
}

impl Session {
    pub(super) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the server does not answer")?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self { stream })
    }

    /// Makes a replica set of this one member.
    pub(super) fn initiate(&mut self, set: &str, port: u16) -> Result<()> {
        let member = Document::new().int("_id", 0).text("host", &format!("127.0.0.1:{port}"));
        // A member that is alone need not wait for others.
        let settings = Document::new().int("electionTimeoutMillis", 500).int("heartbeatIntervalMillis", 500);
        let config =
            Document::new().text("_id", set).array("members", &[member]).document("settings", settings);
        self.run(Document::new().document("replSetInitiate", config))?;
        self.wait_for_primary()
    }

    /// Makes an account that may do everything.
    pub(super) fn create_account(&mut self, user: &str, password: &str) -> Result<()> {
        let role = Document::new().text("role", "root").text("db", "admin");
        let account = Document::new().text("createUser", user).text("pwd", password).array("roles", &[role]);
        self.run(account)
    }

    fn wait_for_primary(&mut self) -> Result<()> {
        for _ in 0..LOOKS {
            let answer = self.ask(Document::new().int("hello", 1))?;
            if has(&answer, 8, "isWritablePrimary", &[1]) {
                return Ok(());
            }
            sleep(PAUSE);
        }
        bail!("the member did not become primary")
    }

    fn run(&mut self, command: Document) -> Result<()> {
        let answer = self.ask(command)?;
        ensure!(has(&answer, 1, "ok", &1_f64.to_le_bytes()), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    fn ask(&mut self, command: Document) -> Result<Vec<u8>> {
        let body = command.text("$db", "admin").finish();
        let mut message = Vec::new();
        let length = HEADER + 5 + body.len();
        for number in [u32::try_from(length)?, 1, 0, OP_MSG, 0] {
            message.extend(number.to_le_bytes());
        }
        message.push(0);
        message.extend(body);
        self.stream.write_all(&message)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length))?;
        ensure!((HEADER..MOST).contains(&length), "the server sent {length} bytes");
        let mut answer = vec![0; length - 4];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }
}

/// Whether a message holds a field of this type, name and value. Good enough for answers of known form.
fn has(message: &[u8], kind: u8, name: &str, value: &[u8]) -> bool {
    let field = [&[kind], name.as_bytes(), &[0], value].concat();
    message.windows(field.len()).any(|window| window == field)
}

/// A document under construction.
struct Document(Vec<u8>);

impl Document {
    fn new() -> Self {
        Self(vec![0; 4])
    }

    fn field(mut self, kind: u8, name: &str, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend(name.as_bytes());
        self.0.push(0);
        self.0.extend(value);
        self
    }

    fn text(self, name: &str, text: &str) -> Self {
        let length = u32::try_from(text.len() + 1).expect("names and passwords are short");
        self.field(2, name, &[&length.to_le_bytes(), text.as_bytes(), &[0]].concat())
    }

    fn int(self, name: &str, number: i32) -> Self {
        self.field(16, name, &number.to_le_bytes())
    }

    fn document(self, name: &str, document: Self) -> Self {
        self.field(3, name, &document.finish())
    }

    fn array(self, name: &str, items: &[Self]) -> Self {
        let numbered = items.iter().enumerate();
        let array = numbered.fold(Self::new(), |array, (index, item)| {
            array.document(&index.to_string(), Self(item.0.clone()))
        });
        self.field(4, name, &array.finish())
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(0);
        let length = u32::try_from(self.0.len()).expect("commands are short");
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_their_length_in_front_and_a_zero_behind() {
        let nested = Document::new().array("a", &[Document::new().int("b", 1)]).text("c", "d").finish();
        let expected =
            b"\x25\0\0\0\x04a\0\x14\0\0\0\x030\0\x0c\0\0\0\x10b\0\x01\0\0\0\0\0\x02c\0\x02\0\0\0d\0\0";
        assert_eq!(nested, expected);
    }

    #[test]
    fn a_field_is_found_by_type_name_and_value() {
        let answer = Document::new().int("ok", 1).finish();
        assert!(has(&answer, 16, "ok", &[1]));
        assert!(!has(&answer, 1, "ok", &1_f64.to_le_bytes()));
    }
}
