//! What a start without the store needs, on disk: values that are replaced whole, and believed only when they are whole.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::spool::checksum;

/// One value on disk: its checksum in hex on the first line, then JSON.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    pub(super) fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(name) }
    }

    /// Written beside and moved: a crash, or a full disk, leaves the old one. For our eyes only, since credentials may
    /// be among it.
    pub(super) fn save<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let json = serde_json::to_vec(value)?;
        let new = self.path.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        writeln!(file, "{:016x}", checksum(&json))?;
        file.write_all(&json)?;
        file.sync_data()?;
        std::fs::rename(new, &self.path)
    }

    /// `None` when there is none.
    pub(super) fn load<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let octets = match std::fs::read(&self.path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let spoilt = || io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong");
        let (sum, json) = octets.split_at_checked(17).ok_or_else(spoilt)?;
        if sum != format!("{:016x}\n", checksum(json)).as_bytes() {
            return Err(spoilt());
        }
        Ok(Some(serde_json::from_slice(json)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Rows;
    use crate::carrier::rows::{CarrierCredentialsRow, CustomerRow};
    use crate::digest::Hidden;

    #[test]
    fn gives_back_the_rows_that_were_saved_last() {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshot = Snapshot::new(dir.path(), "tables.json");
        assert_eq!(snapshot.load::<Rows>().expect("nothing is no error"), None);
        let customer =
            CustomerRow { customer_id: 7, name: "acme".to_owned(), ..CustomerRow::default() };
        let rows = Rows { customers: vec![customer], ..Rows::default() };
        snapshot.save(&Rows::default()).expect("saved");
        snapshot.save(&rows).expect("saved");
        assert_eq!(snapshot.load().expect("readable"), Some(rows));
    }

    #[test]
    fn keeps_credentials_for_our_eyes_only_and_whole() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let snapshot = Snapshot::new(dir.path(), "tables.json");
        let credentials = CarrierCredentialsRow {
            password: Some(Hidden::new("open sesame".to_owned())),
            ..CarrierCredentialsRow::default()
        };
        let rows = Rows { carrier_credentials: vec![credentials], ..Rows::default() };
        std::fs::write(dir.path().join("tables.new"), "left by a crash").expect("written");
        snapshot.save(&rows).expect("saved");
        let mode =
            std::fs::metadata(dir.path().join("tables.json")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(snapshot.load().expect("readable"), Some(rows));
    }

    #[test]
    fn believes_nothing_that_is_cut_or_has_a_wrong_bit() {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshot = Snapshot::new(dir.path(), "value.json");
        snapshot.save(&["a", "b"]).expect("saved");
        let path = dir.path().join("value.json");
        let octets = std::fs::read(&path).expect("read");
        for at in 0..octets.len() {
            std::fs::write(&path, &octets[..at]).expect("written");
            assert!(snapshot.load::<Vec<String>>().is_err(), "cut after {at} octets");
            let mut spoilt = octets.clone();
            spoilt[at] ^= 1;
            std::fs::write(&path, spoilt).expect("written");
            assert!(snapshot.load::<Vec<String>>().is_err(), "a wrong bit in octet {at}");
        }
    }
}
