//! Names of files that come from outside: never out of the target's folder, never onto something that is no file.

/// The longest part of a path that common file systems hold.
const LONGEST_PART: usize = 255;
/// The longest path below the target's folder.
const LONGEST_PATH: usize = 2048;

/// Names that mean devices on Windows, whatever follows behind a dot.
const DEVICES: [&str; 8] = ["con", "prn", "aux", "nul", "conin$", "conout$", "com", "lpt"];

/// The folder in which a target remembers what it holds.
const HOME: &str = ".towpath";

/// Whether a file may have this name below the target's folder; otherwise why not.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > LONGEST_PATH {
        return Err("it is too long");
    }
    name.split('/').try_for_each(check_part)
}

fn check_part(part: &str) -> Result<(), &'static str> {
    match part {
        "" => Err("it begins or ends with `/`, or has two of them"),
        "." | ".." => Err("it leads out of the folder or to a folder"),
        _ if part.contains(char::is_control) => Err("it holds a control character"),
        _ if part.contains('\\') => Err("it holds a backslash"),
        _ if cfg!(windows) && part.contains(':') => Err("it holds a colon"),
        _ if part.len() > LONGEST_PART => Err("a part of it is too long"),
        _ if is_device(part) => Err("it is the name of a device on some systems"),
        _ if part.eq_ignore_ascii_case(HOME) => Err("it is the folder in which the target remembers"),
        _ => Ok(()),
    }
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    DEVICES.iter().any(|device| {
        let numbered = matches!(*device, "com" | "lpt");
        stem.strip_prefix(device).is_some_and(|rest| {
            if numbered {
                rest.chars().count() == 1 && rest.chars().all(char::is_numeric)
            } else {
                rest.is_empty()
            }
        })
    })
}

/// A harmless name out of one that came from outside, as browsers do it: separators, control characters and what Windows
/// forbids become `_`; so does a dot in front, which would hide the file. `None` when nothing is left.
pub fn clean(text: &str) -> Option<String> {
    let text = text.trim();
    let mut name: String =
        text.chars().map(|character| if is_unsafe(character) { '_' } else { character }).collect();
    while name.ends_with(['.', ' ']) {
        name.pop();
    }
    if name.is_empty() {
        return (!text.is_empty()).then(|| "_".to_owned());
    }
    if let Some(rest) = name.strip_prefix('.') {
        name = format!("_{rest}");
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    Some(shorten(name))
}

fn is_unsafe(character: char) -> bool {
    // Marks of direction make a name look like another one.
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || "/\\<>:\"|?*".contains(character)
}

/// The name with a stem that is short enough, and its extension.
fn shorten(name: String) -> String {
    /// Leaves room for a number.
    const LONGEST: usize = LONGEST_PART - 15;
    if name.len() <= LONGEST {
        return name;
    }
    let extension =
        name.rsplit_once('.').map(|(_, extension)| extension).filter(|extension| extension.len() <= 16);
    let extension = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
    let mut end = LONGEST - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

/// The name with a number before its extensions: `a.tar.gz` becomes `a-2.tar.gz`.
pub fn numbered(name: &str, number: u64) -> String {
    let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
    let numbered = match file.split_once('.') {
        Some((stem, extensions)) if !stem.is_empty() => format!("{stem}-{number}.{extensions}"),
        _ => format!("{file}-{number}"),
    };
    if folder.is_empty() { numbered } else { format!("{folder}/{numbered}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(300);
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            ".",
            "a/./b",
            "a\0b",
            "a\nb",
            "a\\b",
            "NUL",
            "nul.txt",
            "a/COM1.log",
            "lpt9",
            "con .x",
            ".towpath/p/manifest.json",
            "a/.TowPath",
            long.as_str(),
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
        for name in
            ["a", "a/b.txt", "größe 1.csv", "..a", "a..b", ".hidden", "console", "com", "com10", "2024-01-01"]
        {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_name_from_outside_is_made_harmless() {
        for (text, expected) in [
            ("report.pdf", "report.pdf"),
            (" größe 1.csv ", "größe 1.csv"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..", "_"),
            ("C:\\autoexec.bat", "C__autoexec.bat"),
            (".bashrc", "_bashrc"),
            ("nul.txt", "_nul.txt"),
            ("a\u{202e}gpj.exe", "a_gpj.exe"),
            ("a\0b\r\n.txt", "a_b__.txt"),
            ("name. .", "name"),
        ] {
            let name = clean(text).unwrap();
            assert_eq!(name, expected, "{text:?}");
            assert_eq!(check(&name), Ok(()), "{name:?}");
        }
        assert_eq!(clean("  "), None);
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = clean(&format!("{}.tar.gz", "ä".repeat(400))).unwrap();
        assert!(name.len() <= LONGEST_PART && name.ends_with("ä.gz"), "{name}");
    }

    #[test]
    fn a_number_stands_before_the_extensions() {
        assert_eq!(numbered("a.tar.gz", 2), "a-2.tar.gz");
        assert_eq!(numbered("x.y/a", 3), "x.y/a-3");
        assert_eq!(numbered(".a", 2), ".a-2");
    }
}
