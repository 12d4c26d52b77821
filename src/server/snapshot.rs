//! The last good tables on disk, for a start without the store.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::carrier::Rows;

const FILE: &str = "tables.json";

/// Where the last good rows are kept.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// Written beside and moved: a crash leaves the old ones. For our eyes only, since credentials are among them.
    pub(super) fn save(&self, rows: &Rows) -> io::Result<()> {
        let new = self.path.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(rows)?)?;
        std::fs::rename(new, &self.path)
    }

    /// `None` when there are none.
    pub(super) fn load(&self) -> io::Result<Option<Rows>> {
        match std::fs::read(&self.path) {
            Ok(octets) => Ok(Some(serde_json::from_slice(&octets)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::rows::{CarrierCredentialsRow, CustomerRow};
    use crate::digest::Hidden;

    #[test]
    fn gives_back_the_rows_that_were_saved_last() {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshot = Snapshot::in_dir(dir.path());
        assert_eq!(snapshot.load().expect("nothing is no error"), None);
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
        let snapshot = Snapshot::in_dir(dir.path());
        let credentials = CarrierCredentialsRow {
            password: Some(Hidden::new("open sesame".to_owned())),
            ..CarrierCredentialsRow::default()
        };
        let rows = Rows { carrier_credentials: vec![credentials], ..Rows::default() };
        std::fs::write(dir.path().join("tables.new"), "left by a crash").expect("written");
        snapshot.save(&rows).expect("saved");
        let mode = std::fs::metadata(dir.path().join(FILE)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(snapshot.load().expect("readable"), Some(rows));
    }

    #[test]
    fn says_so_when_the_file_is_spoilt() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(FILE), "{").expect("written");
        assert!(Snapshot::in_dir(dir.path()).load().is_err());
    }
}
