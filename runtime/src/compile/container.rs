//! What this process's container has left of its memory.
//!
//! Kubernetes has the kernel kill a container whole when its memory limit is reached
//! (`memory.oom.group`, the default from 1.28 on with version 2 of cgroups): a child that
//! takes too much would take the sidecar with it. So where that is set, a child gets no more
//! than what is left.

use std::fs;
use std::path::Path;

/// Where version 2 of cgroups is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Bytes that are left below the limit; `None`: there is none, or reaching it ends the child alone.
pub fn memory_left() -> Option<u64> {
    left(&|path| fs::read_to_string(path).ok())
}

fn left(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let inner = Path::new(ROOT).join(own);
    // Each group is bound by those that it is in.
    let all = || inner.ancestors().take_while(|group| group.starts_with(ROOT));
    let number = |group: &Path, name| read(&group.join(name))?.trim().parse::<u64>().ok();
    if !all().any(|group| number(group, "memory.oom.group") == Some(1)) {
        return None;
    }
    let left = |group: &Path| {
        let (limit, used) = (number(group, "memory.max")?, number(group, "memory.current")?);
        // Files that were read and may be dropped count as used.
        let statistics = read(&group.join("memory.stat")).unwrap_or_default();
        let files = statistics.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(files.unwrap_or(0))))
    };
    all().filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_with(files: &[(&str, &str)]) -> Option<u64> {
        left(&|path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn what_is_left_where_the_whole_container_would_be_killed() {
        // As a container sees it: its own group is the root.
        let mut files = vec![
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.oom.group", "1\n"),
            ("/sys/fs/cgroup/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.current", "600\n"),
            ("/sys/fs/cgroup/memory.stat", "anon 400\ninactive_file 150\nactive_file 50\n"),
        ];
        assert_eq!(left_with(&files), Some(550));
        files[4].1 = "";
        assert_eq!(left_with(&files), Some(400));
        files[3].1 = "1001\n";
        assert_eq!(left_with(&files), Some(0));
        files[2].1 = "max\n";
        assert_eq!(left_with(&files), None, "no limit");
        files[2].1 = "1000\n";
        files[1].1 = "0\n";
        assert_eq!(left_with(&files), None, "the child alone");
        assert_eq!(left_with(&files[1..]), None, "no version 2");
        memory_left();
    }

    #[test]
    fn the_narrowest_of_the_groups_counts() {
        let files = [
            ("/proc/self/cgroup", "12:cpu:/x\n0::/pod/container\n"),
            ("/sys/fs/cgroup/pod/container/memory.oom.group", "1"),
            ("/sys/fs/cgroup/pod/container/memory.max", "1000"),
            ("/sys/fs/cgroup/pod/container/memory.current", "100"),
            ("/sys/fs/cgroup/pod/memory.max", "2000"),
            ("/sys/fs/cgroup/pod/memory.current", "1900"),
        ];
        assert_eq!(left_with(&files), Some(100));
    }
}
