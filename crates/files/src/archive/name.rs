//! What entries are called: archives hold names of any kind, also such as lead out of the folder they are unpacked into.

/// An entry's name below its archive, with `/` between its parts. A root is left out, as programs that unpack do.
///
/// # Errors
/// Why it is no name.
pub(crate) fn clean(raw: &str) -> Result<String, &'static str> {
    if raw.contains(|character: char| character.is_control()) {
        return Err("the name of an entry holds control characters");
    }
    let mut parts = Vec::new();
    for part in raw.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("the name of an entry leads out of the archive"),
            drive if parts.is_empty() && is_drive(drive) => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { Err("an entry has no name") } else { Ok(parts.join("/")) }
}

fn is_drive(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_its_archive() {
        for (raw, name) in [
            ("a.csv", "a.csv"),
            ("./dir//a.csv", "dir/a.csv"),
            ("/etc/passwd", "etc/passwd"),
            ("C:/x/a.csv", "x/a.csv"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(clean(raw), Ok(name.to_owned()), "{raw}");
        }
        for raw in ["../a.csv", "a/../../b.csv", "a/..", "", "/", "./.", "a\0b", "a\nb"] {
            assert!(clean(raw).is_err(), "{raw:?}");
        }
    }
}
