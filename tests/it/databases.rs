//! Databases: from one to the other and back, over bad networks, and through killed runs.

mod commands;
mod examples;
mod mongodb;
mod mongodb_extremes;
mod mongodb_trouble;
mod mysql;
mod postgres;
mod refused;
mod round_trip;
mod tpch;
mod trouble;

use std::net::SocketAddr;

use url::Url;

/// The address that a test finds in its environment.
fn server(variable: &str) -> Url {
    let url = std::env::var(variable).unwrap_or_else(|_| {
        panic!("this test needs a server: run it by `cargo xtask test`, or set {variable}")
    });
    Url::parse(&url).unwrap_or_else(|error| panic!("{variable}: {error}"))
}

/// A name that no other test has.
fn unique_name() -> String {
    format!("towpath_{:016x}", fastrand::u64(..))
}

fn address(url: &Url) -> SocketAddr {
    let text = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    text.parse().expect("the servers of tests are named by number")
}

/// The same URL with another server.
fn at(mut url: Url, address: SocketAddr) -> String {
    url.set_host(Some(&address.ip().to_string())).expect("the URL has a host");
    url.set_port(Some(address.port())).expect("the URL has a port");
    url.into()
}

/// Fails with the first line that differs, rather than with two tables.
#[track_caller]
fn assert_same(what: &str, left: &[String], right: &[String]) {
    if let Some(row) = (0..left.len().min(right.len())).find(|&row| left[row] != right[row]) {
        panic!("{what}: row {row} was\n  {}\nand is\n  {}", left[row], right[row]);
    }
    assert_eq!(left.len(), right.len(), "{what}: rows");
}
