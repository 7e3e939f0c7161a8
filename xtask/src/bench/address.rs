//! The parts of a server's address, for programs that want them one by one.

use anyhow::{Context, Result};

/// `mysql://user:password@host:port/database`, as the services write it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) host: String,
    pub(super) port: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self> {
        Self::parts(url).context("the address of a server has no user, password, host or port")
    }

    fn parts(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let (account, place) = rest.rsplit_once('@')?;
        let (user, password) = account.split_once(':')?;
        let (server, _) = place.split_once('/')?;
        let (host, port) = server.rsplit_once(':')?;
        let [user, password, host, port] = [user, password, host, port].map(str::to_owned);
        Some(Self { user, password, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_falls_into_its_parts() {
        let address = Address::parse("mysql://towpath:secret@127.0.0.1:3306/").unwrap();
        let [user, password, host, port] = ["towpath", "secret", "127.0.0.1", "3306"].map(str::to_owned);
        assert_eq!(address, Address { user, password, host, port });
        assert!(Address::parse("mysql://127.0.0.1/").is_err());
    }
}
