//! What users download, in bytes.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

/// The size of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// As it is.
    pub raw: usize,
    /// By gzip, level 9.
    pub gzip: usize,
    /// By brotli, quality 11.
    pub brotli: usize,
}

/// The sizes of what a page loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// `wakeline.js`, loaded with the page.
    pub loader: Size,
    /// `sdk-<hash>.js`, loaded after it.
    pub glue: Size,
    /// `sdk-<hash>.wasm`, loaded after it.
    pub wasm: Size,
    /// Modules that are loaded only where a page needs them, by name: `capture`, `links`, `overlay`, `plain`, `settings`, `tab`, `vitals`.
    pub lazy: BTreeMap<String, Size>,
}

const FILE: &str = "sizes.json";

impl Sizes {
    /// All that every page loads, by brotli.
    pub fn brotli(&self) -> usize {
        self.loader.brotli + self.glue.brotli + self.wasm.brotli
    }

    /// All that a page loads that captures everything, by brotli.
    pub fn brotli_with_capture(&self) -> usize {
        let capture = ["capture", "settings", "vitals"]
            .map(|name| self.lazy.get(name).map_or(0, |size| size.brotli));
        self.brotli() + capture.iter().sum::<usize>()
    }

    pub(crate) fn read(out_dir: &Path) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_slice(&fs::read(out_dir.join(FILE))?)?;
        let read = |value: &Value, name: &str| -> anyhow::Result<Size> {
            let field = |kind: &str| {
                value[kind]
                    .as_u64()
                    .and_then(|bytes| usize::try_from(bytes).ok())
                    .with_context(|| format!("{FILE} has no {name}.{kind}"))
            };
            Ok(Size {
                raw: field("raw")?,
                gzip: field("gzip")?,
                brotli: field("brotli")?,
            })
        };
        let size = |name: &str| read(&value[name], name);
        let lazy = value["lazy"]
            .as_object()
            .with_context(|| format!("{FILE} has no lazy"))?;
        Ok(Self {
            loader: size("loader")?,
            glue: size("glue")?,
            wasm: size("wasm")?,
            lazy: lazy
                .iter()
                .map(|(name, value)| Ok((name.clone(), read(value, name)?)))
                .collect::<anyhow::Result<_>>()?,
        })
    }

    pub(crate) fn write(&self, out_dir: &Path) -> anyhow::Result<()> {
        let size =
            |size: Size| json!({ "raw": size.raw, "gzip": size.gzip, "brotli": size.brotli });
        let lazy: BTreeMap<_, _> = self
            .lazy
            .iter()
            .map(|(name, of)| (name, size(*of)))
            .collect();
        let value = json!({
            "loader": size(self.loader),
            "glue": size(self.glue),
            "wasm": size(self.wasm),
            "lazy": lazy,
            "total_brotli": self.brotli(),
            "with_capture_brotli": self.brotli_with_capture(),
        });
        fs::write(out_dir.join(FILE), format!("{value:#}\n"))?;
        Ok(())
    }
}

/// Writes `path` with a `.br` and a `.gz` beside it.
pub(crate) fn write_compressed(path: &Path, bytes: &[u8]) -> anyhow::Result<Size> {
    let mut brotli = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        size_hint: bytes.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut brotli, &params)?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes)?;
    let gzip = gzip.finish()?;
    let sibling = |extension: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        name
    };
    fs::write(path, bytes)?;
    fs::write(sibling(".br"), &brotli)?;
    fs::write(sibling(".gz"), &gzip)?;
    Ok(Size {
        raw: bytes.len(),
        gzip: gzip.len(),
        brotli: brotli.len(),
    })
}
