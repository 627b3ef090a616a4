//! Where the lake's objects are: a folder, or an S3 bucket.

use std::fmt;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
};
use url::Url;

use crate::LakeError;

/// How an S3 store is reached, beside what the environment says (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …).
#[derive(Clone, Default)]
pub struct S3Options {
    /// `http://` or `https://` and a host; none: Amazon's.
    pub endpoint: Option<String>,
    /// Region; none: what the environment says, else us-east-1.
    pub region: Option<String>,
    /// Id and secret of a key; none: what the environment says.
    pub key: Option<(String, String)>,
}

/// The objects of a lake.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    name: String,
}

/// How often a request is tried: whoever asks tries again, too.
fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.name).finish()
    }
}

impl Store {
    /// Opens `file:///FOLDER`, which is made if it is not there, or `s3://BUCKET[/FOLDER]`.
    pub fn open(url: &str, s3: &S3Options) -> Result<Self, LakeError> {
        let bad = |why: &str| LakeError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let parsed = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        match parsed.scheme() {
            "file" => {
                let folder = parsed.to_file_path();
                Self::folder(&folder.map_err(|()| bad("it names no folder"))?)
            }
            "s3" => {
                let bucket = parsed.host_str().ok_or_else(|| bad("it names no bucket"))?;
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                if let Some(endpoint) = &s3.endpoint {
                    builder = builder
                        .with_endpoint(endpoint)
                        .with_allow_http(endpoint.starts_with("http://"));
                }
                if let Some(region) = &s3.region {
                    builder = builder.with_region(region);
                }
                if let Some((id, secret)) = &s3.key {
                    builder = builder
                        .with_access_key_id(id)
                        .with_secret_access_key(secret);
                }
                let objects = builder
                    .with_retry(retry())
                    .build()
                    .map_err(|error| bad(&error.to_string()))?;
                let prefix = Path::parse(parsed.path().trim_matches('/'))
                    .map_err(|error| bad(&error.to_string()))?;
                Ok(Self {
                    objects: Arc::new(PrefixStore::new(objects, prefix)),
                    folder: None,
                    name: url.to_owned(),
                })
            }
            _ => Err(bad("it begins with neither file:// nor s3://")),
        }
    }

    /// Opens a folder, which is made if it is not there.
    pub fn folder(folder: &FilePath) -> Result<Self, LakeError> {
        let failed = |source| LakeError::Folder {
            folder: folder.display().to_string(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let objects = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(Self {
            objects: Arc::new(objects),
            name: format!("file://{}", folder.display()),
            folder: Some(folder),
        })
    }

    /// What some other store keeps, such as one that fails on purpose.
    pub fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            name: objects.to_string(),
            objects,
            folder: None,
        }
    }

    /// The objects, for who reads files by parts.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Where they are.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an object, in place of the one that may be there. It is durable when this returns.
    pub(crate) async fn put(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        let written = self.objects.put(&Path::from(path), bytes.into()).await;
        written.map_err(|source| failed("write", path, source))?;
        self.sync(path).await
    }

    /// Writes an object unless there is one; false if there is.
    pub(crate) async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, LakeError> {
        let options = PutOptions::from(PutMode::Create);
        let location = Path::from(path);
        match self
            .objects
            .put_opts(&location, bytes.into(), options)
            .await
        {
            Ok(_) => self.sync(path).await.map(|()| true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(failed("write", path, source)),
        }
    }

    /// The content of an object; `None` if it is not there.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Bytes>, LakeError> {
        let found = async { self.objects.get(&Path::from(path)).await?.bytes().await };
        match found.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("read", path, source)),
        }
    }

    /// Has `each` take the content of an object that has to be there, part by part.
    pub(crate) async fn parts(
        &self,
        path: &str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), LakeError> {
        let read = async {
            let mut parts = self.objects.get(&Path::from(path)).await?.into_stream();
            while let Some(part) = parts.try_next().await? {
                each(&part);
            }
            Ok(())
        };
        read.await.map_err(|source| missing_or(path, source))
    }

    /// Some ranges of an object that has to be there.
    pub(crate) async fn ranges(
        &self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, LakeError> {
        let found = self.objects.get_ranges(&Path::from(path), ranges).await;
        let found = found.map_err(|source| missing_or(path, source))?;
        let mut lengths = ranges.iter().zip(&found);
        if lengths.any(|(range, bytes)| range.end - range.start != bytes.len() as u64) {
            return Err(LakeError::Foreign {
                path: path.to_owned(),
                why: "it is shorter than it was written".to_owned(),
            });
        }
        Ok(found)
    }

    /// The objects below a folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, LakeError> {
        let listed = self.objects.list(Some(&Path::from(folder)));
        let listed: Result<Vec<_>, _> = listed.try_collect().await;
        listed.map_err(|source| failed("list", folder, source))
    }

    /// Removes an object, if it is there.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), LakeError> {
        match self.objects.delete(&Path::from(path)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("delete", path, source)),
        }
    }

    /// Makes a file of a folder durable, with its name and those of the folders above it.
    async fn sync(&self, path: &str) -> Result<(), LakeError> {
        let Some(root) = self.folder.clone() else {
            return Ok(()); // an object store says yes when it is
        };
        let file = root.join(path);
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&file)?.sync_all()?;
            let above = file.ancestors().skip(1);
            for folder in above.take_while(|folder| folder.starts_with(&root)) {
                std::fs::File::open(folder)?.sync_all()?;
            }
            Ok(())
        });
        let synced = synced
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        synced.map_err(|error: std::io::Error| {
            let source = Error::Generic {
                store: "folder",
                source: Box::new(error),
            };
            failed("make durable", path, source)
        })
    }
}

fn missing_or(path: &str, source: Error) -> LakeError {
    match source {
        Error::NotFound { .. } => LakeError::Missing {
            path: path.to_owned(),
        },
        source => failed("read", path, source),
    }
}

pub(crate) fn failed(what: &'static str, path: &str, source: Error) -> LakeError {
    LakeError::Store {
        what,
        path: path.to_owned(),
        source,
    }
}
