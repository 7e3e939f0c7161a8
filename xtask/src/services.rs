//! `cargo xtask services`: private, throw-away servers for tests.
//!
//! Each server has a data folder of its own, listens on a free port of 127.0.0.1 and is known by process
//! id and start time, so that nothing that was not started here is ever stopped.

use std::fmt;

use anyhow::{Result, bail};
use clap::Subcommand;
use rustix::process::Signal;

use crate::workspace::Workspace;

mod azure;
mod certificate;
mod mongodb;
mod mysql;
mod postgres;
mod process_id;
mod provision;
mod s3;
mod site;
mod startup;
mod state;

use process_id::ProcessId;
use site::Site;
use state::{Running, State};

/// Every service there is.
const SERVICES: &[Service] = &[
    postgres::SERVICE,
    mysql::SERVICE,
    mongodb::SERVICE,
    mongodb::STEPPING,
    mongodb::ALONE,
    s3::SERVICE,
    azure::SERVICE,
];

/// The services that `cargo xtask test` starts.
const NEEDED_BY_TESTS: &[&str] =
    &["postgres", "mysql", "mongodb", "mongodb-stepping", "mongodb-alone", "s3", "azure"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Starts services and prints the variables by which tests find them, as lines for a shell to `eval`.
    Up {
        /// Which to start; all, if none is named.
        names: Vec<String>,
    },
    /// Stops services that `up` has started, and removes their data.
    Down {
        /// Which to stop; all, if none is named.
        names: Vec<String>,
    },
    /// Prints what runs.
    Status,
}

/// Installs Debian packages where that can be done; tells whether it could.
pub(crate) fn install(packages: &[&str]) -> Result<bool> {
    let can_install = provision::can_install();
    if can_install {
        provision::install(packages)?;
    }
    Ok(can_install)
}

/// A kind of server: how it is started and stopped.
struct Service {
    name: &'static str,
    /// The variable that holds its address while tests run.
    url_variable: &'static str,
    /// The variable that holds the path of the certificate that vouches for it.
    authority_variable: &'static str,
    /// The signal that ends it quickly and cleanly.
    stop: Signal,
    start: fn(&Site) -> Result<Server>,
}

impl Service {
    /// Variables that tell tests where the server is.
    fn variables(&self, workspace: &Workspace, running: &Running) -> [(&'static str, String); 2] {
        let authority = certificate::authority(&site::home(workspace));
        [(self.url_variable, running.url.clone()), (self.authority_variable, authority.display().to_string())]
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A server that answers.
struct Server {
    pid: u32,
    url: String,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    match &arguments.action {
        Action::Up { names } => {
            let services = select(names)?;
            for service in &services {
                start(workspace, service)?;
            }
            let state = State::load(workspace)?;
            for service in services {
                let Some(running) = state.get(service.name) else { continue };
                for (variable, value) in service.variables(workspace, running) {
                    println!("export {variable}={}", quoted(&value));
                }
            }
            Ok(())
        }
        Action::Down { names } => {
            for service in select(names)? {
                stop(workspace, service)?;
            }
            Ok(())
        }
        Action::Status => {
            let state = State::load(workspace)?;
            for service in SERVICES {
                println!("{:<12} {}", service.name, Status(state.get(service.name)));
            }
            Ok(())
        }
    }
}

/// The services of one test run.
pub(crate) struct ForTests<'a> {
    workspace: &'a Workspace,
    variables: Vec<(&'static str, String)>,
    started: Vec<&'static Service>,
}

/// Starts what tests need, unless it runs already.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<ForTests<'_>> {
    let mut services = ForTests { workspace, variables: Vec::new(), started: Vec::new() };
    for name in NEEDED_BY_TESTS {
        let service = find(name)?;
        match start(workspace, service) {
            Ok(Outcome::Started) => services.started.push(service),
            Ok(Outcome::RunsAlready) => {}
            Err(error) => {
                services.stop()?;
                return Err(error);
            }
        }
        if let Some(running) = State::load(workspace)?.get(service.name) {
            services.variables.extend(service.variables(workspace, running));
        }
    }
    Ok(services)
}

impl ForTests<'_> {
    /// Variables that tell tests where the servers are.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables.clone()
    }

    /// Stops what was started for this run, and nothing else.
    pub(crate) fn stop(self) -> Result<()> {
        self.started.into_iter().try_for_each(|service| stop(self.workspace, service))
    }
}

enum Outcome {
    Started,
    RunsAlready,
}

fn start(workspace: &Workspace, service: &Service) -> Result<Outcome> {
    let mut state = State::lock(workspace)?;
    if state.get(service.name).is_some_and(|running| running.process.is_alive()) {
        return Ok(Outcome::RunsAlready);
    }
    // What a crashed server left must not be taken for fresh.
    if let Some(stale) = state.remove(service.name)? {
        site::remove(&stale.folder)?;
    }
    let site = Site::create(workspace, service.name)?;
    let started = (service.start)(&site).and_then(|server| {
        let process = ProcessId::of(server.pid)?;
        Ok(Running { process, url: server.url, folder: site.folder().to_owned() })
    });
    match started {
        Ok(running) => {
            eprintln!("{}: {}", service.name, Status(Some(&running)));
            state.insert(service.name, running)?;
            Ok(Outcome::Started)
        }
        Err(error) => {
            site::remove(site.folder())?;
            Err(error.context(format!("cannot start {}", service.name)))
        }
    }
}

fn stop(workspace: &Workspace, service: &Service) -> Result<()> {
    let mut state = State::lock(workspace)?;
    let Some(running) = state.get(service.name) else { return Ok(()) };
    if running.process.is_alive() {
        running.process.stop(service.stop)?;
        eprintln!("{}: stopped", service.name);
    }
    site::remove(&running.folder)?;
    state.remove(service.name)?;
    Ok(())
}

fn select(names: &[String]) -> Result<Vec<&'static Service>> {
    if names.is_empty() {
        Ok(SERVICES.iter().collect())
    } else {
        names.iter().map(|name| find(name)).collect()
    }
}

fn find(name: &str) -> Result<&'static Service> {
    let Some(service) = SERVICES.iter().find(|service| service.name == name) else {
        let known: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        bail!("there is no service `{name}`; there are: {}", known.join(", "));
    };
    Ok(service)
}

/// What people read about a server; the password in its URL is left out.
struct Status<'a>(Option<&'a Running>);

impl fmt::Display for Status<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(running) if running.process.is_alive() => {
                let address =
                    running.url.rsplit_once('@').map_or(running.url.as_str(), |(_, address)| address);
                write!(formatter, "runs as process {} at {address}", running.process.pid())
            }
            Some(_) => {
                formatter.write_str("has ended by itself; `cargo xtask services down` clears what it left")
            }
            None => formatter.write_str("is not running"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_service_gets_the_list_of_names() {
        let error = find("postgers").err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some(
                "there is no service `postgers`; there are: postgres, mysql, mongodb, mongodb-stepping, \
                 mongodb-alone, s3, azure"
            )
        );
    }

    #[test]
    fn tests_only_need_services_that_exist() {
        assert!(NEEDED_BY_TESTS.iter().all(|name| find(name).is_ok()));
    }

    #[test]
    fn a_path_with_an_apostrophe_stays_one_word_of_the_shell() {
        assert_eq!(quoted("/it's/ca.pem"), r"'/it'\''s/ca.pem'");
    }

    #[test]
    fn a_status_shows_no_password() {
        let process = ProcessId::of(std::process::id()).unwrap();
        let url = "postgres://towpath:hidden@127.0.0.1:1234/postgres".to_owned();
        let running = Running { process, url, folder: "data".into() };
        let text = Status(Some(&running)).to_string();
        assert!(text.ends_with("at 127.0.0.1:1234/postgres") && !text.contains("hidden"), "{text}");
    }
}
