//! The name that somebody most likely meant.

/// The nearest of the names, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let near = names.into_iter().filter_map(|known| {
        let distance = strsim::damerau_levenshtein(&lower, &known.to_lowercase());
        let allowed = (known.chars().count().max(name.chars().count()) / 3).max(1);
        (distance <= allowed && distance < known.chars().count()).then_some((distance, known))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["cursor", "key", "write_disposition", "source"];

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        assert_eq!(nearest("cursr", NAMES), Some("cursor"));
        assert_eq!(nearest("keys", NAMES), Some("key"));
        assert_eq!(nearest("writeDisposition", NAMES), Some("write_disposition"));
        assert_eq!(nearest("SOURCE", NAMES), Some("source"));
    }

    #[test]
    fn a_name_that_nobody_could_have_meant_finds_nothing() {
        assert_eq!(nearest("transform", NAMES), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
