//! SIGINT and SIGTERM: the first stops gently, the second at once.

use std::io;

use towpath_core::Error;
use towpath_engine::Shutdown;

use crate::failed::Failed;
use crate::output::screen::Screen;

/// Passes the signals on to a run, for as long as the command lives.
///
/// # Errors
/// Of the operating system.
pub(crate) fn watch(screen: &Screen) -> io::Result<Shutdown> {
    let shutdown = Shutdown::new();
    let mut signals = Signals::new()?;
    let (requested, screen) = (shutdown.clone(), screen.clone());
    tokio::spawn(async move {
        loop {
            signals.next().await;
            let is_second = requested.stop.is_cancelled();
            requested.request();
            screen.note(if is_second {
                "stopping at once; the next run goes on from the last commit\n"
            } else {
                "stopping: what was read is committed; once more to stop at once\n"
            });
        }
    });
    Ok(shutdown)
}

/// Does something that moves no data, until the first signal.
///
/// # Errors
/// `Cancelled` by a signal, and what the work returns.
pub(crate) async fn interruptible<T>(
    work: impl AsyncFnOnce(&Shutdown) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let mut signals = Signals::new()?;
    let shutdown = Shutdown::new();
    let stopped = async {
        signals.next().await;
        shutdown.stop.cancel();
        shutdown.kill.cancel();
    };
    tokio::select! {
        done = work(&shutdown) => done,
        () = stopped => Err(Error::cancelled().into()),
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a console there is nobody to press Ctrl-C.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
