//! The beginning of a connection: capabilities, encryption, authentication.

use bytes::Bytes;
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use tokio::net::TcpStream;
use towpath_core::{Error, Result};

use super::reply::{END, ERROR, OK, server_error};
use super::tls;
use super::wire::{Socket, Wire};
use crate::config::{ConnectionOptions, Host, TlsMode};
use crate::errors::{config, lost, malformed};

/// `utf8mb4_general_ci`, which every server knows.
const COLLATION: u8 = 45;
/// The longest packet that we take.
const MAX_PACKET: u32 = 1 << 30;
/// A packet of authentication that is neither success nor failure.
const MORE: u8 = 0x01;
const SHA2_CACHED: u8 = 0x03;
const SHA2_FULL: u8 = 0x04;
const SHA2_ASK_KEY: u8 = 0x02;

/// Which server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) is_mariadb: bool,
    pub(crate) version: (u16, u16, u16),
}

/// A connection whose user is known to the server.
pub(super) struct Greeted {
    pub(super) wire: Wire,
    pub(super) id: u32,
    pub(super) server: Server,
}

pub(super) async fn greet(options: &ConnectionOptions) -> Result<Greeted> {
    let mut wire = Wire::new(open(&options.host).await?);
    let packet = wire.read().await?;
    if packet.first() == Some(&ERROR) {
        return Err(server_error(&packet).into());
    }
    let hello: HandshakePacket<'_> = ParseBuf(&packet)
        .parse(())
        .map_err(|error| malformed("a greeting").help("is this a MySQL server?").source(error))?;
    let wanted = capabilities(options);
    let mut agreed = wanted & hello.capabilities();
    let is_encrypted = decide_encryption(options, hello.capabilities(), &mut agreed)?;
    if is_encrypted {
        wire = encrypt(wire, options, agreed).await?;
    }
    let server = version(&hello);
    if !agreed.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF) {
        return Err(Error::unsupported("the server is too old").help("it takes MySQL 5.7 or MariaDB 10.2"));
    }
    let plugin = hello.auth_plugin().unwrap_or(AuthPlugin::MysqlNativePassword).into_owned();
    let mut login = Login {
        wire,
        nonce: nonce(&hello),
        password: options.password.as_ref().map_or("", |password| password.expose()),
        is_private: is_encrypted || matches!(options.host, Host::Socket(_)),
    };
    login.respond(options, &plugin, agreed, server).await?;
    login.finish(plugin).await?;
    let mut wire = login.wire;
    if agreed.contains(CapabilityFlags::CLIENT_COMPRESS) {
        wire.compress();
    }
    Ok(Greeted { wire, id: hello.connection_id(), server })
}

async fn open(host: &Host) -> Result<Box<dyn Socket>> {
    match host {
        Host::Tcp { name, port } => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(|error| {
                Error::unavailable("cannot connect")
                    .source(error)
                    .help("check host and port, and that the server is running")
            })?;
            stream.set_nodelay(true).map_err(lost)?;
            Ok(Box::new(stream))
        }
        #[cfg(unix)]
        Host::Socket(path) => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| {
                Error::unavailable("cannot connect")
                    .source(error)
                    .help("check `socket`, and that the server is running")
            })?;
            Ok(Box::new(stream))
        }
        #[cfg(not(unix))]
        Host::Socket(_) => Err(Error::unsupported("this system has no Unix sockets").help("set `host`")),
    }
}

fn capabilities(options: &ConnectionOptions) -> CapabilityFlags {
    let mut flags = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_LOCAL_FILES
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    // Without CLIENT_MULTI_STATEMENTS the server runs one statement of a text at most.
    flags.set(CapabilityFlags::CLIENT_CONNECT_WITH_DB, options.database.is_some());
    flags.set(CapabilityFlags::CLIENT_COMPRESS, options.compression);
    flags
}

fn decide_encryption(
    options: &ConnectionOptions,
    offered: CapabilityFlags,
    agreed: &mut CapabilityFlags,
) -> Result<bool> {
    let offers = offered.contains(CapabilityFlags::CLIENT_SSL);
    let is_encrypted = match options.tls_mode {
        TlsMode::Disabled => false,
        TlsMode::Preferred => offers,
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity if offers => true,
        _ => return Err(config("the server offers no encryption").help("set it up there, or set `tls.mode`")),
    };
    agreed.set(CapabilityFlags::CLIENT_SSL, is_encrypted);
    Ok(is_encrypted)
}

async fn encrypt(mut wire: Wire, options: &ConnectionOptions, agreed: CapabilityFlags) -> Result<Wire> {
    wire.write(&serialized(&SslRequest::new(agreed, MAX_PACKET, COLLATION))).await?;
    let sequence = wire.sequence();
    let Host::Tcp { name, .. } = &options.host else {
        return Err(Error::unexpected("a Unix socket is not encrypted"));
    };
    let socket = tls::encrypt(wire.into_socket()?, name, options.tls_mode, &options.tls).await?;
    let mut wire = Wire::new(socket);
    wire.resume_sequence(sequence);
    Ok(wire)
}

fn version(hello: &HandshakePacket<'_>) -> Server {
    match hello.maria_db_server_version_parsed() {
        Some(version) => Server { is_mariadb: true, version },
        None => Server { is_mariadb: false, version: hello.server_version_parsed().unwrap_or_default() },
    }
}

/// 20 random bytes; the zero behind them is none of them.
fn nonce(hello: &HandshakePacket<'_>) -> Vec<u8> {
    let mut nonce = hello.scramble_1_ref().to_vec();
    nonce.extend_from_slice(hello.scramble_2_ref().unwrap_or_default());
    nonce.truncate(20);
    nonce
}

/// The user tells who they are.
struct Login<'a> {
    wire: Wire,
    nonce: Vec<u8>,
    password: &'a str,
    /// Whether nobody else can read what is sent.
    is_private: bool,
}

impl Login<'_> {
    async fn respond(
        &mut self,
        options: &ConnectionOptions,
        plugin: &AuthPlugin<'_>,
        agreed: CapabilityFlags,
        server: Server,
    ) -> Result<()> {
        // A plugin that we do not know, or will not use here, is answered when the server insists on it.
        let proof = match plugin {
            AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword => self.proof(plugin)?,
            _ => Vec::new(),
        };
        let response = HandshakeResponse::new(
            Some(proof),
            server.version,
            Some(options.user.as_bytes()),
            options.database.as_deref().map(str::as_bytes),
            Some(plugin.borrow()),
            agreed,
            None,
            MAX_PACKET,
        );
        self.wire.write(&serialized(&response)).await
    }

    /// Answers until the server lets us in or not.
    async fn finish(&mut self, mut plugin: AuthPlugin<'static>) -> Result<()> {
        loop {
            let packet = self.wire.read().await?;
            match packet.first() {
                Some(&OK) => return Ok(()),
                Some(&ERROR) => return Err(server_error(&packet).into()),
                Some(&END) => plugin = self.switch(&packet).await?,
                Some(&MORE) if plugin == AuthPlugin::CachingSha2Password => self.sha2(&packet).await?,
                _ => return Err(malformed("a packet of authentication")),
            }
        }
    }

    /// The server asks for another plugin.
    async fn switch(&mut self, packet: &Bytes) -> Result<AuthPlugin<'static>> {
        if packet.len() == 1 {
            return Err(unknown("mysql_old_password"));
        }
        let request: AuthSwitchRequest<'_> = ParseBuf(packet)
            .parse(())
            .map_err(|error| malformed("a request of authentication").source(error))?;
        self.nonce = request.plugin_data().to_vec();
        let plugin = request.auth_plugin().into_owned();
        let proof = self.proof(&plugin)?;
        self.wire.write(&proof).await?;
        Ok(plugin)
    }

    /// What proves that we know the password.
    fn proof(&self, plugin: &AuthPlugin<'_>) -> Result<Vec<u8>> {
        match plugin {
            AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword | AuthPlugin::Ed25519 => {}
            AuthPlugin::MysqlClearPassword if self.is_private => {}
            AuthPlugin::MysqlClearPassword => {
                return Err(config(
                    "the server asks for the password as clear text, and the connection is not encrypted",
                )
                .help("set `tls.mode`"));
            }
            other => return Err(unknown(&String::from_utf8_lossy(other.as_bytes()))),
        }
        let data = plugin.gen_data(Some(self.password), &self.nonce);
        Ok(data.as_ref().map_or_else(Vec::new, serialized))
    }

    /// `caching_sha2_password`: the server remembers the user, or wants the password itself.
    async fn sha2(&mut self, packet: &Bytes) -> Result<()> {
        match packet.get(1) {
            Some(&SHA2_CACHED) => Ok(()),
            Some(&SHA2_FULL) if self.is_private => self.wire.write(&self.zero_terminated()).await,
            Some(&SHA2_FULL) => {
                self.wire.write(&[SHA2_ASK_KEY]).await?;
                let answer = self.wire.read().await?;
                let key = answer.get(1..).filter(|key| key.starts_with(b"-----BEGIN"));
                let key = key.ok_or_else(|| malformed("a public key"))?;
                let masked = self.zero_terminated().into_iter().zip(self.nonce.iter().cycle());
                let masked: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
                self.wire.write(&mysql_common::crypto::encrypt(&masked, key)).await
            }
            _ => Err(malformed("a packet of authentication")),
        }
    }

    fn zero_terminated(&self) -> Vec<u8> {
        let mut password = self.password.as_bytes().to_vec();
        password.push(0);
        password
    }
}

fn unknown(plugin: &str) -> Error {
    Error::unsupported(format!("the server asks for authentication by `{plugin}`"))
        .help("give the user caching_sha2_password, mysql_native_password or ed25519")
}

fn serialized(value: &impl MySerialize) -> Vec<u8> {
    let mut buffer = Vec::new();
    value.serialize(&mut buffer);
    buffer
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    /// A login that answers a server on the other end.
    fn login(is_private: bool) -> (Login<'static>, Wire) {
        let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 16);
        let wire = Wire::new(Box::new(ours));
        (Login { wire, nonce: vec![7; 20], password: "s3cret", is_private }, Wire::new(Box::new(theirs)))
    }

    #[tokio::test]
    async fn a_user_whom_the_server_remembers_is_let_in_at_once() {
        let (mut login, mut server) = login(false);
        server.write(&[MORE, SHA2_CACHED]).await.unwrap();
        server.write(&[OK, 0, 0, 2, 0, 0, 0]).await.unwrap();
        login.finish(AuthPlugin::CachingSha2Password).await.unwrap();
    }

    #[tokio::test]
    async fn a_password_goes_as_it_is_through_private_connections_only() {
        let (mut open, mut server) = login(true);
        server.write(&[MORE, SHA2_FULL]).await.unwrap();
        let answering = async {
            let password = server.read().await.unwrap();
            server.write(&[OK, 0, 0, 2, 0, 0, 0]).await.unwrap();
            password
        };
        let (outcome, password) = tokio::join!(open.finish(AuthPlugin::CachingSha2Password), answering);
        outcome.unwrap();
        assert_eq!(&password[..], b"s3cret\0");

        let (mut public, mut server) = login(false);
        server.write(&[MORE, SHA2_FULL]).await.unwrap();
        let answering = async {
            assert_eq!(&server.read().await.unwrap()[..], [SHA2_ASK_KEY]);
            server.write(&[&[MORE], PUBLIC_KEY.as_bytes()].concat()).await.unwrap();
            let encrypted = server.read().await.unwrap();
            server.write(b"\xFF\x15\x04#28000Access denied").await.unwrap();
            encrypted
        };
        let (outcome, encrypted) = tokio::join!(public.finish(AuthPlugin::CachingSha2Password), answering);
        assert_eq!(outcome.unwrap_err().kind(), towpath_core::ErrorKind::Unauthenticated);
        assert_eq!(encrypted.len(), 256);
        let shows = encrypted.windows(6).any(|window| window == b"s3cret");
        assert!(!shows, "the password can be read on the wire");
    }

    #[tokio::test]
    async fn a_server_may_ask_for_another_plugin_but_not_for_the_bare_password() {
        let (mut known, mut server) = login(false);
        server.write(b"\xFEmysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0").await.unwrap();
        let answering = async {
            let proof = server.read().await.unwrap();
            server.write(&[OK, 0, 0, 2, 0, 0, 0]).await.unwrap();
            proof
        };
        let (outcome, proof) = tokio::join!(known.finish(AuthPlugin::CachingSha2Password), answering);
        outcome.unwrap();
        assert_eq!(proof.len(), 20);

        for (request, says) in [
            (&b"\xFEmysql_clear_password\0"[..], "tls.mode"),
            (b"\xFEdialog\0", "dialog"),
            (b"\xFE", "mysql_old_password"),
        ] {
            let (mut refusing, mut server) = login(false);
            server.write(request).await.unwrap();
            let error = refusing.finish(AuthPlugin::MysqlNativePassword).await.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwath2wo1oMLq8eagmV8u\n\
k2Wsez2N6O7yISF1jm/85xrVowufVHEvvToKAHXhFnttqoY43/DajCThwwPwtd+x\n\
e2FpLUf8XfB1olqQx54Ugwodd/jTNxZPBpB7eWEgQDzg7ZqiY8+00IBQ0hVcXX+n\n\
GFDEl1sqYMj5/8enRS+BMAYUfPNRpRR/pbZD3Q4hLFpvkNq7DTjlRuK0NOFa1Ch1\n\
Bpxt+AYMkO8z725HixrBjHTk+zO8qSqh+ctp3K0n19sIQSPpk0/QHL8HXmx7vFMM\n\
cAUIsSOnXSR6BVqz9DU/EH2EdqCHXrH+jL8DlwnBaIT5YCh7NoXneIDL3t2yYqhC\n\
0wIDAQAB\n\
-----END PUBLIC KEY-----\n";
}
