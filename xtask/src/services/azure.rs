//! Azurite, which speaks the protocol of Azure Blob Storage, with TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::certificate;
use super::site::{Site, random_password};
use super::startup::{self, Started};
use super::{Server, Service};
use crate::{packages, process, services};

/// It keeps nothing that is worth a clean shutdown.
pub(super) const SERVICE: Service = Service {
    name: "azure",
    url_variable: "TOWPATH_TEST_AZURE_URL",
    authority_variable: "TOWPATH_TEST_AZURE_CA",
    stop: Signal::KILL,
    start,
};

/// The package that holds the server.
const PACKAGE: (&str, &str) = ("azurite", "3.37.0");

/// Where the server lies in it.
const INSIDE: &str = "dist/src/blob/main.js";

/// The account that may do everything.
const ACCOUNT: &str = "towpath";

/// What the server is told, beside folders, port and files. It calls nobody, takes requests of newer versions than it knows,
/// and tokens that no one has signed.
const SETTINGS: [&str; 7] = [
    "--skipApiVersionCheck",
    "--disableTelemetry",
    "--silent",
    "--oauth",
    "basic",
    "--blobHost",
    "127.0.0.1",
];

/// Makes the containers: `landing`, and `public`, which anybody may list and read.
const CONTAINERS: &str = r#"
const { createHmac } = require("crypto"), { readFileSync } = require("fs"), { request } = require("https");
const { ACCOUNT, KEY, PORT, CA } = process.env;
for (const [name, access] of [["landing", ""], ["public", "container"]]) {
  const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2023-11-03" };
  if (access) headers["x-ms-blob-public-access"] = access;
  const lines = Object.keys(headers).sort().map((header) => `${header}:${headers[header]}\n`).join("");
  const text = `PUT${"\n".repeat(12)}${lines}/${ACCOUNT}/${ACCOUNT}/${name}\nrestype:container`;
  const signature = createHmac("sha256", Buffer.from(KEY, "base64")).update(text).digest("base64");
  headers.authorization = `SharedKey ${ACCOUNT}:${signature}`;
  headers["content-length"] = 0;
  const path = `/${ACCOUNT}/${name}?restype=container`;
  request({ method: "PUT", host: "127.0.0.1", port: PORT, ca: readFileSync(CA), path, headers }, (answer) => {
    answer.resume();
    if (answer.statusCode !== 201) throw new Error(`the server answered ${answer.statusCode} for ${name}`);
  }).end();
}
"#;

fn start(site: &Site) -> Result<Server> {
    let node = node()?;
    let program = packages::installed(&site.downloads(), PACKAGE)?.join(INSIDE);
    // Its digits are Base64 as well, as keys of accounts are.
    let key = random_password()?;
    let certificate = certificate::issue(site)?;
    let data = site.folder().join("data");
    std::fs::create_dir_all(&data)?;
    site.give(&data)?;
    let command = |port: u16| {
        let mut command = site.command(&node);
        command.env("HOME", site.folder()).env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{key}"));
        command.arg(&program).args(SETTINGS).arg("--blobPort").arg(port.to_string());
        command.arg("--location").arg(&data).arg("--cert").arg(&certificate.certificate);
        command.arg("--key").arg(&certificate.key);
        Ok(command)
    };
    let ready = || site.log_text().contains("successfully listens");
    let Started { pid, port } = startup::start(site, command, ready)?;
    make_containers(site, &node, &key, port)?;
    Ok(Server { pid, url: format!("https://{ACCOUNT}:{key}@127.0.0.1:{port}/{ACCOUNT}") })
}

fn make_containers(site: &Site, node: &Path, key: &str, port: u16) -> Result<()> {
    let mut command = Command::new(node);
    command.args(["-e", CONTAINERS]).env("ACCOUNT", ACCOUNT).env("KEY", key).env("PORT", port.to_string());
    command.env("CA", certificate::authority(site.home()));
    process::run(command.stdout(io::stderr()))
}

/// The program that runs the server.
fn node() -> Result<PathBuf> {
    if let Some(node) = process::find("node") {
        return Ok(node);
    }
    if services::install(&["nodejs"])?
        && let Some(node) = process::find("node")
    {
        return Ok(node);
    }
    bail!("install Node.js, which runs a server that tests use")
}
