//! What a scalar without quotes means: the core schema of YAML 1.2.

use towpath_core::Json;

/// The typed value of a plain scalar.
pub(crate) fn typed(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => integer(text).or_else(|| float(text)).unwrap_or_else(|| text.into()),
    }
}

fn integer(text: &str) -> Option<Json> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Json::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Json::from);
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('+') {
        return None;
    }
    unsigned.parse::<u64>().map(Json::from).or_else(|_| unsigned.parse::<i64>().map(Json::from)).ok()
}

/// Infinity and NaN stay text: no option takes them, and JSON cannot hold them.
fn float(text: &str) -> Option<Json> {
    let numeric = |character: char| character.is_ascii_digit() || "+-.eE".contains(character);
    let is_number = text.chars().all(numeric) && text.contains(|character: char| character.is_ascii_digit());
    let is_integer = !text.contains(['.', 'e', 'E']);
    // An integer beyond 64 bits would lose digits as a float.
    if !is_number || is_integer {
        return None;
    }
    serde_json::Number::from_f64(text.parse().ok()?).map(Json::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_scalar_gets_the_type_of_its_form() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("42", json!(42)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("0x1f", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!("18446744073709551616")),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".nan", json!(".nan")),
            ("inf", json!("inf")),
            ("1.2.3", json!("1.2.3")),
            ("2024-01-31", json!("2024-01-31")),
            ("100/s", json!("100/s")),
            ("++1", json!("++1")),
        ] {
            assert_eq!(typed(text), expected, "{text}");
        }
    }
}
