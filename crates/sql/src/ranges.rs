//! Where to cut keys and blocks into pieces of about the same size.
//!
//! Keys are cut by inner boundaries `b1 < b2 < ...`: the pieces are `key < b1`, `b1 <= key < b2`, ..., `bn <= key`. So
//! they hold every key, also one that is outside of what statistics knew.

/// The inner boundaries that cut `min..=max` into this many pieces; fewer where there are fewer values.
///
/// ```
/// assert_eq!(towpath_sql::between_integers(0, 99, 4), [25, 50, 75]);
/// assert_eq!(towpath_sql::between_integers(5, 6, 4), [6]);
/// ```
pub fn between_integers(min: i128, max: i128, pieces: usize) -> Vec<i128> {
    if max <= min || pieces < 2 {
        return Vec::new();
    }
    let width = max.abs_diff(min);
    let offsets = between(width, pieces);
    offsets.into_iter().map(|offset| min.saturating_add_unsigned(offset)).collect()
}

/// The inner boundaries that cut all UUIDs into this many pieces.
///
/// ```
/// let halves = towpath_sql::between_uuids(2);
/// assert_eq!(halves, ["80000000-0000-0000-0000-000000000000"]);
/// ```
pub fn between_uuids(pieces: usize) -> Vec<String> {
    between(u128::MAX, pieces).into_iter().map(format_uuid).collect()
}

/// Offsets that cut `0..=width` into pieces, without 0.
fn between(width: u128, pieces: usize) -> Vec<u128> {
    let pieces = (pieces as u128).min(width.saturating_add(1)).max(1);
    // One more value than `width`, without an overflow: the remainder goes to the first pieces.
    let (whole, rest) = (width / pieces, width % pieces + 1);
    let (whole, rest) = if rest == pieces { (whole + 1, 0) } else { (whole, rest) };
    (1..pieces).map(|piece| piece * whole + piece.min(rest)).collect()
}

/// A UUID in lower case with dashes.
pub fn format_uuid(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A UUID as a number.
pub fn parse_uuid(text: &str) -> Option<u128> {
    let hex: String = text.chars().filter(|character| *character != '-').collect();
    let is_hex = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u128::from_str_radix(&hex, 16).ok() } else { None }
}

/// `0..total` in pieces of `size`, from `start` on.
///
/// ```
/// assert_eq!(towpath_sql::blocks(4, 10, 4).collect::<Vec<_>>(), [4..8, 8..10]);
/// ```
pub fn blocks(start: u64, total: u64, size: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    let size = size.max(1);
    let mut next = start;
    std::iter::from_fn(move || {
        let from = next;
        next = from.saturating_add(size).min(total);
        (from < total).then_some(from..next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many values each piece holds.
    fn sizes(min: i128, max: i128, pieces: usize) -> Vec<i128> {
        let mut edges = vec![min];
        edges.extend(between_integers(min, max, pieces));
        edges.push(max + 1);
        edges.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn pieces_are_as_even_as_can_be() {
        for (min, max, pieces) in
            [(0, 9, 3), (-7, 7, 4), (1, 1, 5), (0, 1, 5), (10, 1_000_003, 7), (3, 12, 10)]
        {
            let sizes = sizes(min, max, pieces);
            let (least, greatest) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(*least > 0 && greatest - least <= 1, "{min}..={max} in {pieces}: {sizes:?}");
            assert_eq!(sizes.len(), pieces.min(usize::try_from(max - min + 1).unwrap()));
        }
    }

    #[test]
    fn the_whole_width_of_an_integer_can_be_cut() {
        let all = between_integers(i64::MIN.into(), i64::MAX.into(), 4);
        assert_eq!(all, [i128::from(i64::MIN / 2), 0, i128::from(i64::MIN / 2).abs()]);
        assert!(between_integers(5, 4, 3).is_empty());
    }

    #[test]
    fn uuids_are_cut_in_their_order() {
        let quarters = between_uuids(4);
        let numbers: Vec<_> = quarters.iter().map(|uuid| parse_uuid(uuid).unwrap()).collect();
        assert_eq!(numbers, [1 << 126, 1 << 127, 3 << 126]);
        assert!(quarters.is_sorted());
        assert_eq!(parse_uuid("8000-x"), None);
    }

    #[test]
    fn blocks_cover_everything_once_and_go_on_anywhere() {
        assert_eq!(blocks(0, 10, 3).map(|range| range.end - range.start).sum::<u64>(), 10);
        assert_eq!(blocks(10, 10, 3).count(), 0);
        assert_eq!(blocks(0, 1, u64::MAX).next(), Some(0..1));
    }
}
