//! What the folders contain at one moment, and how to see that they changed.
//!
//! Kubernetes swaps the link `..data`, an editor replaces the file, a script writes into it: each
//! changes what `stat` says of the file that the path leads to. Files are read only while that
//! stands still, so that nothing half written is taken for the whole.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path},
};

use headgate_crds::manifest::BYTES_MAX as MANIFEST_BYTES_MAX;

use super::{
    Source,
    secret::{Secret, SecretFile},
};

/// The largest file of a Secret: as large as Kubernetes lets a whole Secret be.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The most files that are read of one Secret.
const FILES_MAX: usize = 64;

/// The contents of all folders.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The manifest's text, at most one byte longer than is allowed.
    pub(super) manifest: io::Result<Vec<u8>>,
    /// The files of each named Secret; a Secret that is not there has none.
    ///
    /// For Kubernetes an optional Secret that does not exist is an empty folder.
    pub(super) secrets: BTreeMap<String, BTreeMap<String, Secret>>,
}

impl Snapshot {
    /// Reads the manifest alone.
    pub(super) fn manifest(source: &Source) -> Self {
        let manifest = read(&source.manifest, MANIFEST_BYTES_MAX);
        Self { manifest, secrets: BTreeMap::new() }
    }

    /// Reads the manifest and the Secrets of these names.
    pub(super) fn read(source: &Source, names: &[String]) -> Self {
        let secrets = names.iter().map(|name| (name.clone(), folder(source, name)));
        Self { secrets: secrets.collect(), ..Self::manifest(source) }
    }

    /// Whether the Secret of a file is there, with or without the file.
    pub(super) fn has_secret_of(&self, file: &SecretFile) -> bool {
        self.secrets.get(&file.secret).is_some_and(|files| !files.is_empty())
    }

    /// The contents of a file.
    pub(super) fn file(&self, file: &SecretFile) -> Option<&Secret> {
        self.secrets.get(&file.secret)?.get(&file.key)
    }
}

fn folder(source: &Source, name: &str) -> BTreeMap<String, Secret> {
    let files = names(source, name).into_iter().filter_map(|file| {
        let path = source.secrets.join(name).join(&file);
        // What cannot be read is as if it were not there: it is reported with its name.
        let bytes = read(&path, FILE_BYTES_MAX).ok().filter(|it| it.len() <= FILE_BYTES_MAX)?;
        Some((file, Secret::new(bytes)))
    });
    files.collect()
}

/// The files of a Secret, sorted, without Kubernetes' own entries (`..data`).
fn names(source: &Source, secret: &str) -> Vec<String> {
    if !is_name(secret) {
        return Vec::new();
    }
    let entries = fs::read_dir(source.secrets.join(secret)).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("..")).take(FILES_MAX).collect();
    names.sort_unstable();
    names
}

/// Whether a name stays inside its folder.
fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        && !name.contains('/')
}

/// At most one byte more than `bytes_max`; the caller sees that it is too long.
fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    // A pipe or a device would keep us waiting.
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    // Room for all of it at once, or a vector that grows would leave copies of a Secret behind.
    let size = usize::try_from(meta.len()).unwrap_or(bytes_max).min(bytes_max);
    let mut bytes = Vec::with_capacity(size + 1);
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file looked like: device, inode, size, and both of its times in nanoseconds.
type Stamp = Option<(u64, u64, u64, i128, i128)>;

/// What all files looked like. Equal stamps mean equal contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(String, Stamp)>);

impl Stamps {
    /// Looks at every file without reading one.
    pub(super) fn take(source: &Source, secrets: &[String]) -> Self {
        let mut stamps = vec![(String::new(), stamp(&source.manifest))];
        for secret in secrets {
            let folder = source.secrets.join(secret);
            for name in names(source, secret) {
                let stamp = stamp(&folder.join(&name));
                stamps.push((format!("{secret}/{name}"), stamp));
            }
        }
        Self(stamps)
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    let time = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
    let modified = time(meta.mtime(), meta.mtime_nsec());
    let changed = time(meta.ctime(), meta.ctime_nsec());
    Some((meta.dev(), meta.ino(), meta.len(), modified, changed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn check_name(name: &str, expected: bool) {
        assert_eq!(is_name(name), expected, "{name:?}");
    }

    #[test]
    fn a_name_never_leaves_its_folder() {
        check_name("chat-tls", true);
        check_name("", false);
        check_name(".", false);
        check_name("..", false);
        check_name("../other", false);
        check_name("a/b", false);
        check_name("a/", false);
        check_name("/etc", false);
    }

    #[test]
    fn the_links_of_kubernetes_are_followed_and_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("chat");
        fs::create_dir_all(secret.join("..2026_1")).unwrap();
        fs::write(secret.join("..2026_1/hmac"), "one").unwrap();
        symlink("..2026_1", secret.join("..data")).unwrap();
        symlink("..data/hmac", secret.join("hmac")).unwrap();
        let source =
            Source { manifest: folder.path().join("none"), secrets: folder.path().to_owned() };
        let names = ["chat".to_owned()];

        let before = Stamps::take(&source, &names);
        let snapshot = Snapshot::read(&source, &names);
        assert_eq!(snapshot.secrets["chat"].keys().collect::<Vec<_>>(), ["hmac"]);
        assert_eq!(snapshot.secrets["chat"]["hmac"].bytes(), b"one");

        fs::create_dir(secret.join("..2026_2")).unwrap();
        fs::write(secret.join("..2026_2/hmac"), "two").unwrap();
        assert_eq!(Stamps::take(&source, &names), before);
        symlink("..2026_2", secret.join("..data_tmp")).unwrap();
        fs::rename(secret.join("..data_tmp"), secret.join("..data")).unwrap();

        assert_ne!(Stamps::take(&source, &names), before);
        assert_eq!(Snapshot::read(&source, &names).secrets["chat"]["hmac"].bytes(), b"two");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();

        let error = read(folder.path(), 10).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
