//! An OCI image in one layer, and the archive it is carried in (OCI image specification 1.1: image layout, manifest,
//! configuration). Nothing in it depends on when, where or by whom it was made.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A file of the image.
pub struct Entry {
    /// Its path, without a slash at the beginning.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Whether it is a program or a library.
    pub executable: bool,
}

/// What the image says of itself.
pub struct Description<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version, and its tag.
    pub version: &'a str,
    /// What it is for, in one line.
    pub purpose: &'a str,
    /// Path of the program, and its arguments.
    pub entry_point: Vec<String>,
    /// Where it looks for other programs.
    pub search: &'a str,
    /// Whether it is as small as can be, or made quickly.
    pub small: bool,
    /// User and group it runs as.
    pub user: u32,
    /// The commit of its sources.
    pub revision: Option<String>,
    /// When the sources were written.
    pub unix_seconds: u64,
}

impl Description<'_> {
    /// What the image is called once it is loaded; who pushes it names it anew.
    pub fn reference(&self) -> String {
        format!("localhost/{}:{}", self.name, self.version)
    }

    fn labels(&self) -> Value {
        let mut labels = json!({
            "org.opencontainers.image.title": self.name,
            "org.opencontainers.image.description": self.purpose,
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.vendor": "Printernizer",
        });
        if let Some(revision) = &self.revision {
            labels["org.opencontainers.image.revision"] = json!(revision);
        }
        labels
    }
}

/// An image.
pub struct Image {
    /// A tar archive with the image layout.
    pub archive: Vec<u8>,
    /// What a registry would store, in bytes.
    pub compressed_bytes: u64,
    /// `sha256:...` of the manifest.
    pub digest: String,
}

/// Makes the image of these files.
pub fn image(description: &Description<'_>, mut entries: Vec<Entry>) -> io::Result<Image> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let layer = archive(&entries, description.unix_seconds)?;
    let compression = if description.small { Compression::best() } else { Compression::none() };
    let mut encoder = GzEncoder::new(Vec::new(), compression);
    encoder.write_all(&layer)?;
    let compressed = encoder.finish()?;

    let configuration = serde_json::to_vec(&json!({
        "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "config": {
            "User": format!("{0}:{0}", description.user),
            "Entrypoint": description.entry_point,
            "Env": [format!("PATH={}", description.search)],
            "WorkingDir": "/",
            "Labels": description.labels(),
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(CONFIGURATION, &configuration),
        "layers": [blob(LAYER, &compressed)],
        "annotations": description.labels(),
    }))?;
    let mut listed = blob(MANIFEST, &manifest);
    listed["annotations"] = json!({
        // The first is the specification's; the second is what containerd and Docker name the image by.
        "org.opencontainers.image.ref.name": description.version,
        "io.containerd.image.name": description.reference(),
    });
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [listed],
    }))?;
    let compressed_bytes = [&configuration, &manifest, &compressed].map(|bytes| bytes.len() as u64).iter().sum();
    let digest = digest(&manifest);
    let file = |path: String, bytes: Vec<u8>| Entry { path, bytes, executable: false };
    let mut files = vec![
        file("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        file("index.json".to_owned(), index),
    ];
    files.extend([configuration, manifest, compressed].map(|bytes| file(blob_path(&bytes), bytes)));
    Ok(Image { archive: archive(&files, description.unix_seconds)?, compressed_bytes, digest })
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|four| char::from_digit(u32::from(four), 16).unwrap_or_default());
    Sha256::digest(bytes).iter().flat_map(digits).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hexadecimal(bytes))
}

fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", hexadecimal(bytes))
}

fn blob(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// A tar archive of these files and the folders they are in, all of root.
fn archive(entries: &[Entry], unix_seconds: u64) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    let mut append = |path: &str, kind: EntryType, mode: u32, bytes: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(unix_seconds);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, bytes)
    };
    let mut folders = BTreeSet::new();
    for entry in entries {
        for (end, _) in entry.path.match_indices('/') {
            let folder = &entry.path[..=end];
            if folders.insert(folder) {
                append(folder, EntryType::Directory, 0o755, &[])?;
            }
        }
        append(&entry.path, EntryType::Regular, if entry.executable { 0o755 } else { 0o644 }, &entry.bytes)?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn description() -> Description<'static> {
        Description {
            name: "a-program",
            version: "1.2.3",
            purpose: "does nothing",
            entry_point: vec!["/usr/bin/a".to_owned()],
            search: "/usr/bin",
            small: true,
            user: 65532,
            revision: None,
            unix_seconds: 1_700_000_000,
        }
    }

    fn entries() -> Vec<Entry> {
        vec![
            Entry { path: "usr/bin/a".to_owned(), bytes: b"program".to_vec(), executable: true },
            Entry { path: "etc/passwd".to_owned(), bytes: b"users".to_vec(), executable: false },
        ]
    }

    fn read(archive: &[u8]) -> BTreeMap<String, (u32, u64, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            (name, (header.mode().unwrap(), header.mtime().unwrap(), bytes))
        });
        read.collect()
    }

    /// What a runtime does: from the index over the manifest to the layer, comparing each digest.
    #[test]
    fn a_runtime_finds_the_files_behind_the_digests() {
        let image = image(&description(), entries()).unwrap();
        let files = read(&image.archive);
        let json = |name: &str| -> Value { serde_json::from_slice(&files[name].2).unwrap() };
        let follow = |descriptor: &Value| -> Vec<u8> {
            let digest = descriptor["digest"].as_str().unwrap();
            let bytes = &files[&digest.replace("sha256:", "blobs/sha256/")].2;
            assert_eq!(
                (super::digest(bytes).as_str(), bytes.len() as u64),
                (digest, descriptor["size"].as_u64().unwrap())
            );
            bytes.clone()
        };
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        let listed = &json("index.json")["manifests"][0];
        assert_eq!(listed["digest"], image.digest);
        assert_eq!(listed["annotations"]["io.containerd.image.name"], "localhost/a-program:1.2.3");
        let manifest: Value = serde_json::from_slice(&follow(listed)).unwrap();
        let configuration: Value = serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        assert_eq!(configuration["config"]["User"], "65532:65532");
        assert_eq!(configuration["config"]["Entrypoint"][0], "/usr/bin/a");
        let compressed = follow(&manifest["layers"][0]);
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut layer).unwrap();
        assert_eq!(configuration["rootfs"]["diff_ids"][0], super::digest(&layer));
        let found: Vec<_> = read(&layer).into_iter().map(|(name, (mode, _, bytes))| (name, mode, bytes)).collect();
        let folder = |name: &str| (name.to_owned(), 0o755, Vec::new());
        assert_eq!(
            found,
            [
                folder("etc/"),
                ("etc/passwd".to_owned(), 0o644, b"users".to_vec()),
                folder("usr/"),
                folder("usr/bin/"),
                ("usr/bin/a".to_owned(), 0o755, b"program".to_vec()),
            ]
        );
    }

    #[test]
    fn the_same_files_give_the_same_image_in_whatever_order() {
        let (one, mut files) = (image(&description(), entries()).unwrap(), entries());
        files.reverse();
        assert_eq!(one.archive, image(&description(), files).unwrap().archive);
        assert!(read(&one.archive).values().all(|(_, time, _)| *time == 1_700_000_000));
        let mut changed = entries();
        changed[0].bytes.push(b'!');
        assert_ne!(one.digest, image(&description(), changed).unwrap().digest);
    }
}
