//! Writing to Azure.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_core::{Context, Error, Result};
use towpath_files::sink::WritesFiles;
use towpath_objects::Appearance;
use towpath_objects::sink::{Provider, SinkParts, UploadSettings};

use crate::config::SinkConfig;
use crate::session::{Session, StreamContainer};
use crate::store::CONNECTOR;

/// The most that Azure takes as a block.
const LARGEST_BLOCK: u64 = 4000 << 20;

/// Azure, for those who write.
#[derive(Debug, Clone)]
pub struct AzureWrites;

impl Provider for AzureWrites {
    const CONNECTOR: &'static str = CONNECTOR;

    type Config = SinkConfig;

    async fn open(config: SinkConfig, cx: &Context) -> Result<SinkParts> {
        check_tags(&config.tags)?;
        if config.part_size.bytes() > LARGEST_BLOCK {
            return Err(Error::config("`part_size` must be 4000 MiB at most: Azure takes no larger blocks"));
        }
        let (mut files, mut connection) = (config.files(), config.connection());
        files.path = connection.take_key(&files.path)?;
        if files.is_bytes() && files.path.is_empty() {
            // The whole container.
            "./".clone_into(&mut files.path);
        }
        if files.path.starts_with('/') {
            return Err(Error::config("a key does not begin with a slash")
                .detail("path", &files.path)
                .help("remove it, or write `path` as az://container/key"));
        }
        let name: Arc<str> = connection.container()?.into();
        let realm = Some(connection.realm());
        let session = Session::shared(&connection, cx).await?;
        let settings = UploadSettings {
            part_size: config.part_size,
            parts_in_flight: config.parts_in_flight,
            layout: config.layout,
            appearance: Appearance {
                content_type: config.content_type,
                content_encoding: config.content_encoding,
                cache_control: config.cache_control,
                storage_class: config.access_tier,
                tags: config.tags,
                ..Appearance::default()
            },
        };
        let opener = StreamContainer { session, name: Some(name) };
        Ok(SinkParts { opener: Arc::new(opener), files, settings, realm })
    }
}

/// Azure takes ten tags of letters, digits and few other characters, and neither long nor empty names.
fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    const MOST: usize = 10;
    if tags.len() > MOST {
        return Err(Error::config(format!("Azure takes {MOST} `tags`, and there are {}", tags.len())));
    }
    let is_taken = |text: &str| {
        text.chars().all(|character| character.is_ascii_alphanumeric() || " +-./:=_".contains(character))
    };
    let fits = |(name, value): &(&String, &String)| {
        (1..=128).contains(&name.len()) && value.len() <= 256 && is_taken(name) && is_taken(value)
    };
    match tags.iter().find(|tag| !fits(tag)) {
        Some((name, _)) => Err(Error::config(
            "a tag has 1 to 128 characters, and its value up to 256: letters, digits and `+-./:=_`",
        )
        .detail("tag", name)
        .help("change it")),
        None => Ok(()),
    }
}
