//! How values are written so that the server reads them back: in the data of a `LOAD DATA`, and in an `INSERT`.

use std::io::Write;

/// A way to write rows.
pub(crate) trait Form: Send + Sync + 'static {
    const NULL: &'static [u8];
    const SEPARATOR: u8;

    fn begin_row(out: &mut Vec<u8>, is_first: bool);
    fn end_row(out: &mut Vec<u8>);
    /// A value of plain characters that need no escape: numbers, dates.
    fn plain(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>));
    /// A number that must not become a text.
    fn number(out: &mut Vec<u8>, number: u64);
    fn text(out: &mut Vec<u8>, text: &[u8]);
    fn bytes(out: &mut Vec<u8>, bytes: &[u8]);
}

/// Lines of fields, as `FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n'` says, in the character set
/// `binary`.
pub(crate) struct Load;

/// Which bytes [`Load`] escapes, and by which letter.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    escapes[b'\\' as usize] = b'\\';
    escapes[b'\t' as usize] = b't';
    escapes[b'\n' as usize] = b'n';
    escapes[0] = b'0';
    escapes
};

/// Which bytes a text in quotes escapes, and by which letter.
const QUOTED_ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    escapes[b'\\' as usize] = b'\\';
    escapes[b'\'' as usize] = b'\'';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[0] = b'0';
    escapes[0x1A] = b'Z';
    escapes
};

fn escape(out: &mut Vec<u8>, text: &[u8], escapes: &[u8; 256]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| escapes[usize::from(byte)] != 0) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', escapes[usize::from(rest[at])]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

impl Form for Load {
    const NULL: &'static [u8] = b"\\N";
    const SEPARATOR: u8 = b'\t';

    fn begin_row(_out: &mut Vec<u8>, _is_first: bool) {}

    fn end_row(out: &mut Vec<u8>) {
        out.push(b'\n');
    }

    fn plain(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        write(out);
    }

    fn number(out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn text(out: &mut Vec<u8>, text: &[u8]) {
        escape(out, text, &ESCAPES);
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        escape(out, bytes, &ESCAPES);
    }
}

/// The rows of `INSERT ... VALUES`.
pub(crate) struct Insert;

impl Form for Insert {
    const NULL: &'static [u8] = b"NULL";
    const SEPARATOR: u8 = b',';

    fn begin_row(out: &mut Vec<u8>, is_first: bool) {
        out.extend_from_slice(if is_first { b"(" } else { b",(" });
    }

    fn end_row(out: &mut Vec<u8>) {
        out.push(b')');
    }

    fn plain(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        out.push(b'\'');
        write(out);
        out.push(b'\'');
    }

    fn number(out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn text(out: &mut Vec<u8>, text: &[u8]) {
        out.push(b'\'');
        escape(out, text, &QUOTED_ESCAPES);
        out.push(b'\'');
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend_from_slice(b"x'");
        for byte in bytes {
            write!(out, "{byte:02x}").expect("memory takes what is written");
        }
        out.push(b'\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: fn(&mut Vec<u8>, &[u8]), value: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_has_a_meaning_in_the_data_is_escaped() {
        assert_eq!(written(Load::text, b"a\tb\nc\\d\0e\rf'g"), "a\\tb\\nc\\\\d\\0e\rf'g");
        assert_eq!(written(Load::text, b"\\N"), "\\\\N");
        assert_eq!(written(Load::text, b""), "");
    }

    #[test]
    fn a_text_in_quotes_ends_only_at_its_end() {
        assert_eq!(written(Insert::text, b"it's \\ \0"), "'it\\'s \\\\ \\0'");
        assert_eq!(written(Insert::bytes, b"\x00'\xff"), "x'0027ff'");
    }
}
