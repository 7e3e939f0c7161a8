//! Geometries in the form in which the server keeps them: the number of the reference system, then well-known binary.

/// The mark in a geometry's type that says that the number of its reference system follows.
const HAS_SRID: u32 = 0x2000_0000;

/// Turns well-known binary, extended or not, into the server's form.
pub(super) fn internal(wkb: &[u8]) -> Result<Vec<u8>, String> {
    let broken = || "it is no well-known binary of a geometry".to_owned();
    let (order, behind) = wkb.split_first().ok_or_else(broken)?;
    let (kind, rest) = behind.split_first_chunk::<4>().ok_or_else(broken)?;
    let is_little = match order {
        0 => false,
        1 => true,
        _ => return Err(broken()),
    };
    let number =
        |bytes: [u8; 4]| if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
    let kind = number(*kind);
    if kind & HAS_SRID == 0 {
        return Ok([&[0; 4], wkb].concat());
    }
    let (srid, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
    let plain = kind & !HAS_SRID;
    let plain = if is_little { plain.to_le_bytes() } else { plain.to_be_bytes() };
    Ok([&number(*srid).to_le_bytes(), &[*order][..], &plain, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_system_moves_to_the_front() {
        let point = [1.0_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat();
        let plain = [&[1, 1, 0, 0, 0][..], &point].concat();
        assert_eq!(internal(&plain).unwrap(), [&[0; 4], &plain[..]].concat());
        let extended = [&[1, 1, 0, 0, 0x20, 0xE6, 0x10, 0, 0][..], &point].concat();
        assert_eq!(internal(&extended).unwrap(), [&[0xE6, 0x10, 0, 0], &plain[..]].concat());
    }

    #[test]
    fn what_is_no_geometry_is_refused() {
        for bytes in [&b""[..], b"\x01\x01", b"\x02\x01\0\0\0", b"\x01\x01\0\0\x20\0"] {
            assert!(internal(bytes).is_err());
        }
    }
}
