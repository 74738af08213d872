//! A snapshot, by whichever way this user has.

use std::io;
use std::path::Path;

use crate::control;
use crate::datapath::DatapathError;
use crate::observe::collect::collect;
use crate::observe::snapshot::Snapshot;
use crate::policy::Paths;

/// Reads the kernel, which root can even while no daemon runs; others ask the daemon.
pub(super) fn look(paths: &Paths, config: &Path) -> anyhow::Result<Snapshot> {
    match collect(paths, config) {
        Err(error) if is_lack_of_rights(&error) => Ok(control::ask(&paths.run)?),
        // The file may have changed since the daemon started, which knows better where everything is.
        Ok(snapshot) if snapshot.daemon && snapshot.services.is_empty() => {
            Ok(control::ask(&paths.run).unwrap_or(snapshot))
        }
        looked => looked,
    }
}

fn is_lack_of_rights(error: &anyhow::Error) -> bool {
    let lacks = |cause: &(dyn std::error::Error + 'static)| {
        let datapath = matches!(cause.downcast_ref(), Some(DatapathError::NotPermitted));
        let files =
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        datapath || files
    };
    error.chain().any(lacks)
}
