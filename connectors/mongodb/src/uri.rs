//! URIs of `towpath copy` and `towpath discover`.

use serde_json::json;
use towpath_core::{Json, Result};

use crate::errors::config;

/// The schemes of this connector.
pub(crate) const SCHEMES: &[&str] = &["mongodb", "mongodb+srv"];

/// The options that a URI stands for: `mongodb://user:password@host/database?collection=orders`, beside the driver's own
/// parameters.
pub(crate) fn options(uri: &str) -> Result<Json> {
    let (front, query) = uri.split_once('?').unwrap_or((uri, ""));
    let (mut collection, mut others) = (None, Vec::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.strip_prefix("collection=") {
            Some(name) if collection.is_none() => {
                let name = percent_encoding::percent_decode_str(name).decode_utf8();
                collection = Some(name.map_err(|_| config("`collection` is no UTF-8"))?.into_owned());
            }
            Some(_) => return Err(config("`collection` stands twice")),
            None => others.push(parameter),
        }
    }
    let url = if others.is_empty() { front.to_owned() } else { format!("{front}?{}", others.join("&")) };
    let mut options = json!({ "url": url });
    if let Some(collection) = collection {
        options["collection"] = collection.into();
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collection_is_taken_out_of_what_the_driver_reads() {
        let uri = "mongodb://u:p@a,b:27018/shop?replicaSet=rs0&collection=my%20orders&tls=true";
        let expected = json!({ "url": "mongodb://u:p@a,b:27018/shop?replicaSet=rs0&tls=true", "collection": "my orders" });
        assert_eq!(options(uri).unwrap(), expected);
        assert_eq!(options("mongodb://a/shop").unwrap(), json!({ "url": "mongodb://a/shop" }));
        assert!(options("mongodb://a/shop?collection=a&collection=b").is_err());
    }
}
