//! How the characters of a page are encoded: as its mark says, else the server, else the page itself.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How much of a page is looked at for a declaration.
const LOOK: usize = 1024;

/// The text of a page.
pub(super) fn text<'a>(bytes: &'a [u8], charset: Option<&str>) -> Cow<'a, str> {
    let told = charset.and_then(|charset| Encoding::for_label(charset.trim().as_bytes()));
    let encoding = told.or_else(|| declared(bytes)).unwrap_or_else(|| {
        // What nobody declares is nearly always UTF-8, or as old as the web.
        if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 }
    });
    // A byte order mark wins.
    encoding.decode(bytes).0
}

/// The encoding in `<meta charset=...>` or `<meta http-equiv content="...; charset=...">`.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(LOOK)]).to_ascii_lowercase();
    let mut rest = head.as_str();
    while let Some((_, behind)) = rest.split_once("<meta") {
        let (tag, behind) = behind.split_once('>')?;
        rest = behind;
        let Some((_, value)) = tag.split_once("charset") else { continue };
        let Some(value) = value.trim_start().strip_prefix('=') else { continue };
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let label = value.split(['"', '\'', ';', ' ', '/']).next()?;
        // Bytes in which a tag could be read are no UTF-16.
        return Encoding::for_label(label.as_bytes()).map(Encoding::output_encoding);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_the_server_and_the_page_are_asked_in_this_order() {
        let page = |head: &str| [head.as_bytes(), b"caf\xE9"].concat();
        assert_eq!(text(&page("<meta charset='iso-8859-1'>"), None), "<meta charset='iso-8859-1'>café");
        let meta = "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1252\">";
        assert!(text(&page(meta), None).ends_with("café"));
        assert!(text(&page(meta), Some("ISO-8859-5")).ends_with("cafщ"));
        assert_eq!(text("\u{feff}café".as_bytes(), Some("ISO-8859-5")), "café");
        assert_eq!(text("café".as_bytes(), None), "café");
        assert_eq!(text(b"caf\xE9", None), "café");
    }
}
