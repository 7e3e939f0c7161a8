//! What a bucket holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::HEXLOWER;
use md5::{Digest, Md5};

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its bytes, as they are stored.
    pub bytes: Bytes,
    /// Which of the contents that this name ever had.
    pub generation: u64,
    /// What the content is called.
    pub etag: String,
    /// When it was written.
    pub modified: DateTime<Utc>,
    /// Headers that say what it is: `content-type`, `x-goog-meta-*` and so on; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Who may read it, as it was asked for.
    pub acl: Option<String>,
    /// Whose key encrypts it, as it was asked for.
    pub kms_key: Option<String>,
}

impl Object {
    /// An object with these bytes.
    pub fn new(bytes: Bytes) -> Self {
        let etag = format!("\"{}\"", HEXLOWER.encode(&Md5::digest(&bytes)));
        Self {
            bytes,
            generation: 0,
            etag,
            modified: Utc::now(),
            headers: BTreeMap::new(),
            acl: None,
            kms_key: None,
        }
    }

    /// With a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A header that says what it is.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether it was written within the last second.
    pub(super) fn is_fresh(&self) -> bool {
        Utc::now() - self.modified < TimeDelta::seconds(1)
    }
}

/// An upload that was not completed.
#[derive(Debug)]
pub(super) struct Upload {
    /// What the object will say of itself.
    pub(super) object: Object,
    pub(super) parts: BTreeMap<u32, Part>,
    pub(super) begun: DateTime<Utc>,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    pub(super) etag: String,
}

/// A bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// The contents that each name ever had, the latest one last.
    objects: BTreeMap<String, Vec<Object>>,
    /// By key and id.
    pub(super) uploads: BTreeMap<(String, String), Upload>,
    /// Whether anybody may read it.
    pub(super) public: bool,
    /// Whether readers pay.
    pub(super) payer: bool,
    keeps_versions: bool,
    /// The last generation, or the last upload.
    last: u64,
}

impl Bucket {
    pub(super) fn live(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)?.last()
    }

    /// The object with this generation, or the live one.
    pub(super) fn find(&self, key: &str, generation: Option<&str>) -> Option<&Object> {
        match generation {
            None => self.live(key),
            Some(wanted) => {
                self.objects.get(key)?.iter().find(|object| object.generation.to_string() == wanted)
            }
        }
    }

    pub(super) fn put(&mut self, key: &str, object: Object) -> u64 {
        let generation = self.next();
        let object = Object { generation, modified: Utc::now(), ..object };
        let kept = self.objects.entry(key.to_owned()).or_default();
        if !self.keeps_versions {
            kept.clear();
        }
        kept.push(object);
        generation
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Vec<Object>> {
        self.objects.remove(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    pub(super) fn begin(&mut self, key: &str, object: Object) -> String {
        let id = format!("upload-{:08}", self.next());
        let upload = Upload { object, parts: BTreeMap::new(), begun: Utc::now() };
        self.uploads.insert((key.to_owned(), id.clone()), upload);
        id
    }

    /// Generations grow, as microseconds do.
    fn next(&mut self) -> u64 {
        let now = u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default();
        self.last = now.max(self.last + 1);
        self.last
    }
}

/// All buckets.
#[derive(Debug)]
pub(super) struct Buckets(BTreeMap<String, Bucket>);

impl Buckets {
    pub(super) fn new() -> Self {
        let bucket = |name: &str| Bucket { name: name.to_owned(), ..Bucket::default() };
        let buckets = [
            bucket("landing"),
            Bucket { public: true, ..bucket("public") },
            Bucket { keeps_versions: true, ..bucket("versions") },
            Bucket { payer: true, ..bucket("paid") },
        ];
        Self(buckets.into_iter().map(|bucket| (bucket.name.clone(), bucket)).collect())
    }

    pub(super) fn get(&mut self, name: &str) -> Option<&mut Bucket> {
        self.0.get_mut(name)
    }

    pub(super) fn of(&mut self, name: &str) -> &mut Bucket {
        self.get(name).expect("the test names a bucket of the server")
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
