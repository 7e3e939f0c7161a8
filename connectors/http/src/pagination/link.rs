//! The `Link` header (RFC 8288).

use reqwest::header::{HeaderMap, LINK};

/// The target of the first link with `rel="next"`.
pub(crate) fn next(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

fn next_in(mut rest: &str) -> Option<&str> {
    loop {
        let (target, behind) = rest.split_once('<')?.1.split_once('>')?;
        let (is_next, behind) = parameters(behind);
        if is_next {
            return Some(target.trim());
        }
        rest = behind;
    }
}

/// Whether the parameters of a link say that it is the next one, and what follows them.
fn parameters(mut rest: &str) -> (bool, &str) {
    let mut is_next = false;
    loop {
        rest = rest.trim_start();
        let Some(behind) = rest.strip_prefix(';') else {
            return (is_next, rest.strip_prefix(',').unwrap_or(rest));
        };
        let behind = behind.trim_start();
        let name_end = behind.find(['=', ';', ',']).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(name_end);
        let (value, behind) = value(behind);
        let relations = value.split_ascii_whitespace();
        is_next |= name.trim().eq_ignore_ascii_case("rel")
            && relations.into_iter().any(|r| r.eq_ignore_ascii_case("next"));
        rest = behind;
    }
}

/// The value of a parameter, in quotes or not, and what follows it.
fn value(rest: &str) -> (&str, &str) {
    let Some(rest) = rest.strip_prefix('=') else { return ("", rest) };
    let rest = rest.trim_start();
    if let Some(quoted) = rest.strip_prefix('"') {
        return quoted.split_once('"').unwrap_or((quoted, ""));
    }
    rest.split_at(rest.find([';', ',']).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn next_of(values: &[&'static str]) -> Option<String> {
        let headers = values.iter().map(|value| (LINK, HeaderValue::from_static(value))).collect();
        next(&headers).map(str::to_owned)
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        for value in [
            r#"<https://a/?page=1>; rel="prev", <https://a/?page=3,x;y>; rel="next", <https://a/?page=9>; rel="last""#,
            r"<https://a/?page=3,x;y>;rel=next",
            r#"<https://a/?page=3,x;y>; title="a, <b>; rel=prev"; REL="last Next""#,
            r#"<https://a/1>, <https://a/?page=3,x;y>; crossorigin; rel="next""#,
        ] {
            assert_eq!(next_of(&[value]).as_deref(), Some("https://a/?page=3,x;y"), "{value}");
        }
        assert_eq!(next_of(&["<a>; rel=prev", "<b>; rel=next"]).as_deref(), Some("b"));
    }

    #[test]
    fn without_a_next_link_there_is_none() {
        for value in
            ["", "<https://a/>; rel=\"previous nextish\"", "<https://a/", "rel=next", "<a>; title=\"rel=next"]
        {
            assert_eq!(next_of(&[value]), None, "{value}");
        }
    }
}
