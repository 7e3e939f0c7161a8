//! Query parameters, changed without touching how the others are written.

use url::Url;

/// Removes every parameter of this name.
pub(crate) fn remove(url: &mut Url, name: &str) {
    let Some(query) = url.query() else { return };
    let is_other = |part: &&str| {
        url::form_urlencoded::parse(part.as_bytes()).next().is_none_or(|(known, _)| known != name)
    };
    let rest: Vec<&str> = query.split('&').filter(is_other).collect();
    if rest.len() < query.split('&').count() {
        let rest = rest.join("&");
        url.set_query((!rest.is_empty()).then_some(&rest));
    }
}

/// Sets a parameter, instead of those of the same name.
pub(crate) fn set(url: &mut Url, name: &str, value: &str) {
    remove(url, name);
    url.query_pairs_mut().append_pair(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_replaced_and_the_others_stay_as_they_are() {
        let mut url = Url::parse("http://a/?q=a%20b&page=1&x[]=1&page=9&flag").unwrap();
        set(&mut url, "page", "2");
        assert_eq!(url.as_str(), "http://a/?q=a%20b&x[]=1&flag&page=2");
        let mut url = Url::parse("http://a/?page=1").unwrap();
        remove(&mut url, "page");
        assert_eq!(url.as_str(), "http://a/");
    }
}
