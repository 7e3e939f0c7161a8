//! The names in a zip: UTF-8, or the code page that was there first.

/// The upper half of code page 437.
const UPPER: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ', 'ô', 'ö',
    'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐',
    '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛',
    '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙',
    '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ',
    'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²',
    '■', '\u{a0}',
];

/// A name as text, with `/` between its parts. Many programs write UTF-8 and do not say so, so what can be UTF-8 is.
pub(super) fn text(name: &[u8]) -> String {
    let text = match std::str::from_utf8(name) {
        Ok(text) => text.to_owned(),
        Err(_) => name.iter().map(|byte| of_code_page(*byte)).collect(),
    };
    text.replace('\\', "/")
}

fn of_code_page(byte: u8) -> char {
    byte.checked_sub(128).map_or(char::from(byte), |upper| UPPER[usize::from(upper)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_utf_8_or_of_the_old_code_page() {
        assert_eq!(text("größe/a.csv".as_bytes()), "größe/a.csv");
        assert_eq!(text(b"gr\x94\xe1e.csv"), "größe.csv");
        assert_eq!(text(b"dir\\a.csv"), "dir/a.csv");
        assert_eq!(text(&[0xff]), "\u{a0}");
    }
}
