//! A TCP proxy that makes a good network a bad one, as the test says and while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the network is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Network {
    latency: Duration,
    bytes_per_second: Option<u64>,
    stalled: bool,
    refusing: bool,
    cut_after: Option<u64>,
    /// Connections of an older generation are cut.
    generation: u64,
}

/// A proxy on a free port of 127.0.0.1 before another address. Dropping it cuts everything.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use towpath_testkit::http::{Response, TestServer};
/// use towpath_testkit::proxy::Proxy;
///
/// let server = TestServer::start(|_| async { Response::text("hello") }).await;
/// let proxy = Proxy::start(server.address()).await;
/// proxy.cut_after(Some(20));
/// let url = format!("http://{}/", proxy.address());
/// # let _ = url;
/// # });
/// ```
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy before this address. At first the network is good.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of 127.0.0.1 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (network, seen) = watch::channel(Network::default());
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, upstream, seen, connections.clone()));
        Self { address, network, connections, accepting }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds each piece of data back for this long, in both directions.
    pub fn latency(&self, latency: Duration) {
        self.network.send_modify(|network| network.latency = latency);
    }

    /// Lets so many bytes per second through in each direction of each connection; `None` for all.
    pub fn rate(&self, bytes_per_second: Option<u64>) {
        self.network.send_modify(|network| network.bytes_per_second = bytes_per_second);
    }

    /// Lets nothing through as long as it is set; connections stay open.
    pub fn stall(&self, stalled: bool) {
        self.network.send_modify(|network| network.stalled = stalled);
    }

    /// Resets new connections at once as long as it is set.
    pub fn refuse(&self, refusing: bool) {
        self.network.send_modify(|network| network.refusing = refusing);
    }

    /// Cuts each connection behind so many bytes from the server; `None` for never.
    pub fn cut_after(&self, bytes: Option<u64>) {
        self.network.send_modify(|network| network.cut_after = bytes);
    }

    /// Cuts the connections that are open now.
    pub fn cut(&self) {
        self.network.send_modify(|network| network.generation += 1);
    }

    /// How many connections are open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The task owns the listener and all connections.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    network: watch::Receiver<Network>,
    connections: Arc<AtomicUsize>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                if network.borrow().refusing {
                    // Without lingering, closing is a reset.
                    let _ = client.set_zero_linger();
                } else {
                    open.spawn(forward(client, upstream, network.clone(), Open::new(&connections)));
                }
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// Counts as an open connection until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::SeqCst);
        Self(connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves one connection until either side ends it with an error, both have ended it, or it is cut.
async fn forward(
    client: TcpStream,
    upstream: SocketAddr,
    network: watch::Receiver<Network>,
    _open: Open,
) -> std::io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let generation = network.borrow().generation;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cuts = network.clone();
    let up = pump(from_client, to_server, network.clone(), false);
    let down = pump(from_server, to_client, network, true);
    tokio::select! {
        ended = async { tokio::try_join!(up, down) } => ended.map(drop),
        // An error means that the proxy is gone, which ends the connection as well.
        _ = cuts.wait_for(|network| network.generation != generation) => Ok(()),
    }
}

/// Moves data one way. The end of one direction is passed on; the other goes on.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    downstream: bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0_u64;
    loop {
        let count = from.read(&mut buffer).await?;
        if network.wait_for(|network| !network.stalled).await.is_err() {
            return Ok(());
        }
        if count == 0 {
            return to.shutdown().await;
        }
        let now = *network.borrow();
        let allowed = now.cut_after.filter(|_| downstream).map_or(count, |cut_after| {
            usize::try_from(cut_after.saturating_sub(passed)).unwrap_or(usize::MAX).min(count)
        });
        tokio::time::sleep(now.latency + transfer_time(allowed, now.bytes_per_second)).await;
        to.write_all(&buffer[..allowed]).await?;
        passed += allowed as u64;
        if allowed < count {
            return Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "cut by the test"));
        }
    }
}

fn transfer_time(bytes: usize, bytes_per_second: Option<u64>) -> Duration {
    bytes_per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64))
}
