//! The text formats of a process's title and of its status.

/// More arguments than any proxy has.
const MOST_ARGUMENTS: usize = 1024;

/// What to call a process. A session of sshd is not sshd: its sockets are somebody's port forwardings.
pub(super) fn process_name(comm: &str, title: &str) -> String {
    let comm = comm.trim_end();
    let is_session = comm == "sshd" && title.starts_with("sshd: ") && !title.contains("[listener]");
    if is_session { "sshd-session".to_owned() } else { comm.to_owned() }
}

/// What `/proc/PID/status` says of whom a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The process that started it.
    pub(crate) parent: u32,
    /// The user it is: real, effective, saved and for files. None while these differ, as in a setuid program: whoever
    /// started that chose its arguments, and it acts for another.
    pub(crate) user: Option<u32>,
    /// In how many namespaces it has an id, ours included; none where the kernel does not say.
    pub(crate) depth: Option<usize>,
}

/// The owner of that file says less: it is root for a process that is not dumpable.
pub(super) fn status(text: &str) -> Option<Status> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let users: Vec<u32> = line("Uid:")?.split_ascii_whitespace().filter_map(|user| user.parse().ok()).collect();
    let user = match users[..] {
        [real, effective, saved, files] if [effective, saved, files] == [real; 3] => Some(real),
        _ => None,
    };
    let parent = line("PPid:")?.trim().parse().ok()?;
    Some(Status { parent, user, depth: line("NSpid:").map(|ids| ids.split_ascii_whitespace().count()) })
}

/// `/proc/PID/cmdline`: each argument ends in a NUL.
pub(super) fn arguments(cmdline: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cmdline);
    text.strip_suffix('\0').unwrap_or(&text).split('\0').take(MOST_ARGUMENTS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_sshd_is_told_from_sshd() {
        assert_eq!(process_name("sshd\n", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"), "sshd");
        assert_eq!(process_name("sshd\n", "/usr/sbin/sshd -D"), "sshd");
        assert_eq!(process_name("sshd\n", "sshd: alice@pts/0"), "sshd-session");
    }

    #[test]
    fn a_process_is_a_user_s_if_nothing_of_it_is_another_s() {
        let user = |ids: &str| status(&format!("Name:\tx\nPPid:\t7\nUid:\t{ids}\nGid:\t0\n")).unwrap().user;
        assert_eq!(user("1000\t1000\t1000\t1000"), Some(1000));
        assert_eq!(user("0\t0\t0\t0"), Some(0));
        // A setuid program, one that gave its rights up for a while, one that acts on files for another.
        for mixed in ["1000\t0\t0\t0", "0\t1000\t0\t1000", "0\t0\t0\t1000", "1000\t1000\t0\t1000", "0", ""] {
            assert_eq!(user(mixed), None, "{mixed:?}");
        }
        assert_eq!(status("Name:\tpasta\n"), None);
    }

    #[test]
    fn a_process_in_a_container_has_more_than_one_id() {
        let depth = |ids: &str| status(&format!("PPid:\t1\nUid:\t0 0 0 0\nNSpid:\t{ids}\n")).unwrap().depth;
        assert_eq!((depth("4711"), depth("4711\t1")), (Some(1), Some(2)));
    }

    #[test]
    fn arguments_end_in_nuls() {
        assert_eq!(arguments(b"pasta\0-t\0\0"), ["pasta", "-t", ""]);
        assert_eq!(arguments(b"retitled process"), ["retitled process"]);
        assert_eq!(arguments(&[0; 100_000]).len(), MOST_ARGUMENTS);
    }
}
