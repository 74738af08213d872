//! The text formats of a process's title and of its status.

/// What to call a process. A session of sshd is not sshd: its sockets are somebody's port forwardings.
pub(super) fn process_name(comm: &str, title: &str) -> String {
    let comm = comm.trim_end();
    let is_session = comm == "sshd" && title.starts_with("sshd: ") && !title.contains("[listener]");
    if is_session { "sshd-session".to_owned() } else { comm.to_owned() }
}

/// The effective user in `/proc/PID/status`. The owner of that file says less: it is root for a process that is not
/// dumpable.
pub(super) fn user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// `/proc/PID/cmdline`: each argument ends in a NUL.
pub(super) fn arguments(cmdline: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cmdline);
    text.strip_suffix('\0').unwrap_or(&text).split('\0').map(str::to_owned).collect()
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
    fn the_effective_user_counts() {
        assert_eq!(user("Name:\tpasta\nUid:\t0\t1000\t0\t0\nGid:\t0\t0\t0\t0\n"), Some(1000));
        assert_eq!(user("Name:\tpasta\n"), None);
    }

    #[test]
    fn arguments_end_in_nuls() {
        assert_eq!(arguments(b"pasta\0-t\0\0"), ["pasta", "-t", ""]);
        assert_eq!(arguments(b"retitled process"), ["retitled process"]);
    }
}
