//! Files that are named on the command line.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::Failure;

/// The contents of a file, or of standard input for `-`; at most one byte more than `bytes_max`.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::Input(path.to_owned(), error);
    let mut contents = Vec::new();
    let limit = bytes_max as u64 + 1;
    if path.as_os_str() == "-" {
        io::stdin().take(limit).read_to_end(&mut contents).map_err(failed)?;
    } else {
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut contents))
            .map_err(failed)?;
    }
    Ok(contents)
}
