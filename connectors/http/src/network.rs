//! How servers are reached: proxies, versions of HTTP, and networks that are refused.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, Identity, NoProxy};
use towpath_core::{Error, ErrorKind, Result, Secret};
use towpath_web::NO_PROXY;
use url::{Host, Url};

use crate::config::{ConnectionOptions, Http2, PrivateNetworks};
use crate::redact::Redactor;

/// How long an unused connection is probed for life.
const KEEPALIVE: Duration = Duration::from_mins(1);

const REFUSED: &str = "the address lies in a private network";

/// Tells the redactor the password of a proxy.
pub(crate) fn hide(options: &ConnectionOptions, redactor: &mut Redactor) {
    let proxy = options.proxy.as_ref().and_then(|proxy| Url::parse(proxy.expose()).ok());
    if let Some(password) = proxy.as_ref().and_then(Url::password) {
        redactor.hide_value(password);
        redactor.hide_value(&percent_encoding::percent_decode_str(password).decode_utf8_lossy());
    }
}

/// The client that sends requests, with its pool of connections.
pub(crate) fn client(
    options: &ConnectionOptions,
    certificates: Vec<Certificate>,
    identity: Option<Identity>,
) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        // Redirects, retries and cookies are decided above this.
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(options.timeout.connect.get())
        .pool_max_idle_per_host(usize::MAX)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .http2_adaptive_window(true);
    builder = set_up(options, builder)?;
    if !certificates.is_empty() {
        builder = builder.tls_certs_merge(certificates);
    }
    let has_identity = identity.is_some();
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| {
        let unexpected = Error::unexpected("the HTTP client cannot be built").source(error);
        if has_identity {
            unexpected.help("check that `client_key` belongs to `client_certificate`")
        } else {
            unexpected
        }
    })
}

/// What makes clients different: those with the same key can be shared.
pub(crate) fn key(options: &ConnectionOptions) -> String {
    let connect = options.timeout.connect.get();
    let ConnectionOptions { ca_certificate, client_certificate, client_key, http2, private_networks, .. } =
        options;
    let proxy = options.proxy.as_ref().map(|proxy| (proxy.expose(), &options.no_proxy));
    format!(
        "{connect:?} {ca_certificate:?} {client_certificate:?} {client_key:?} {http2:?} {private_networks:?} {proxy:?}"
    )
}

/// Sets up how servers are reached.
fn set_up(options: &ConnectionOptions, mut builder: ClientBuilder) -> Result<ClientBuilder> {
    builder = match options.http2 {
        Http2::Auto => builder,
        Http2::Only => builder.http2_prior_knowledge(),
        Http2::Never => builder.http1_only(),
    };
    let refuses = options.private_networks == PrivateNetworks::Refuse;
    if refuses {
        builder = builder.dns_resolver(Arc::new(Public));
    }
    let proxy = options.proxy.as_ref().map(Secret::expose);
    if !options.no_proxy.is_empty() && proxy.is_none_or(|proxy| proxy == NO_PROXY) {
        return Err(Error::config("`no_proxy` names exceptions, and there is no `proxy`")
            .help("set `proxy`, or remove `no_proxy`; that of the environment has its own `NO_PROXY`"));
    }
    match proxy {
        // The one of the environment would look up names itself.
        None if refuses => Ok(builder.no_proxy()),
        None => Ok(builder),
        Some(proxy) if proxy == NO_PROXY => Ok(builder.no_proxy()),
        Some(_) if refuses => {
            Err(Error::config("a proxy looks up names itself, so `private_networks: refuse` cannot hold")
                .help("remove `proxy`, or let the proxy refuse them and remove `private_networks`"))
        }
        Some(proxy) => {
            let exceptions = NoProxy::from_string(&options.no_proxy.join(","));
            Ok(builder.no_proxy().proxy(towpath_web::proxy(proxy)?.no_proxy(exceptions)))
        }
    }
}

/// Refuses a URL whose host is an address of a private network. Names are looked at when they are looked up.
pub(crate) fn check(networks: PrivateNetworks, url: &Url) -> Result<()> {
    let address = match url.host() {
        _ if networks == PrivateNetworks::Allow => return Ok(()),
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    if is_private(address) { Err(refusal()) } else { Ok(()) }
}

/// What a request failed for that was refused when its name was looked up.
pub(crate) fn refused(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if inner.is::<PrivateAddress>() {
            return Some(refusal());
        }
        cause = inner.source();
    }
    None
}

fn refusal() -> Error {
    Error::new(ErrorKind::PermissionDenied, REFUSED)
        .help("remove `private_networks: refuse` if every URL that can come is trusted")
}

/// Looks up names, and gives public addresses only. The connection is made to what was looked at: a name that means
/// something else a moment later gets nowhere.
struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| !is_private(address.ip())).collect();
            if public.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(public.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// A name that leads into a private network only.
#[derive(Debug)]
struct PrivateAddress;

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REFUSED)
    }
}

impl StdError for PrivateAddress {}

/// Whether an address is one of this machine, of a private network, or of no use in public.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    match (a, b) {
        // This machine, multicast and what is reserved; of providers, link-local (where clouds have their metadata), private,
        // and for benchmarks.
        (0 | 10 | 127 | 224..=255, _)
        | (100, 64..=127)
        | (169, 254)
        | (172, 16..=31)
        | (192, 168)
        | (198, 18 | 19) => true,
        (192, 0) => c == 0,
        // Azure's metadata.
        (168, 63) => (c, d) == (129, 16),
        _ => false,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // Some addresses of version 6 hold one of version 4: mapped, compatible, and translated.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_private_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Translated within a network, Teredo.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => true,
        // Unique-local, link-local, site-local, multicast, and what is reserved between them.
        [first, ..] => first >= 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_private_networks_are_known() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2001::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "168.63.129.17",
            "172.32.0.1",
            "192.169.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_at_when_it_is_looked_up() {
        let Err(error) = Public.resolve("localhost".parse().unwrap()).await else { panic!("it was taken") };
        assert!(refused(&*error).is_some(), "{error}");
    }
}
