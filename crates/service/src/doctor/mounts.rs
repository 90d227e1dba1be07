//! Which file system a directory lies on, read from Linux's `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// What a file system means for data that must last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A disk of this machine, as far as can be told.
    Local,
    /// Another machine's disk.
    Network,
    /// A folder that a virtual machine's host shares, as Docker Desktop does, or one that a program serves (FUSE).
    Shared,
    /// Memory: gone with the machine's power.
    Memory,
    /// The layer of a container that is gone with the container.
    Container,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    point: PathBuf,
    /// Its type, such as `ext4`.
    pub name: String,
    /// Mounted so that nobody can write.
    pub is_read_only: bool,
}

impl Mount {
    /// What it means.
    pub fn kind(&self) -> Kind {
        kind(&self.name)
    }
}

/// The file system of an existing path; none where this system has no such table.
pub fn of(path: &Path) -> Option<Mount> {
    let path = path.canonicalize().ok()?;
    find(parse(&std::fs::read("/proc/self/mountinfo").ok()?), &path)
}

/// The mount that a path lies on: the longest that leads to it, and of two in one place the later.
fn find(mounts: Vec<Mount>, path: &Path) -> Option<Mount> {
    let leads_to = |mount: &Mount| path.starts_with(&mount.point);
    mounts.into_iter().filter(leads_to).max_by_key(|mount| mount.point.components().count())
}

/// Reads proc_pid_mountinfo(5); lines that are none are passed over.
fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw`: the optional fields end with a dash.
fn mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let (point, options) = (fields.get(4)?, fields.get(5)?);
    if dash < 6 {
        return None;
    }
    let is_read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(Mount {
        point: OsString::from_vec(unescaped(point)).into(),
        name: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
        is_read_only: is_read_only(options) || fields.get(dash + 3).is_some_and(|options| is_read_only(options)),
    })
}

/// Space, tab, line feed and backslash stand as `\040` and so on.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::with_capacity(field.len()), 0);
    while at < field.len() {
        let octal = field.get(at + 1..at + 4).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match octal {
            Some(digits) if field[at] == b'\\' => {
                bytes.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                at += 4;
            }
            _ => {
                bytes.push(field[at]);
                at += 1;
            }
        }
    }
    bytes
}

fn kind(name: &str) -> Kind {
    match name {
        "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "afs" | "ceph" | "glusterfs" | "fuse.glusterfs" | "fuse.sshfs"
        | "lustre" | "ocfs2" | "gfs2" => Kind::Network,
        "9p" | "virtiofs" | "fakeowner" | "osxfs" | "grpcfuse" | "vboxsf" | "prl_fs" | "drvfs" | "vmhgfs" => {
            Kind::Shared
        }
        name if name.starts_with("fuse") && name != "fuseblk" && name != "fusectl" => Kind::Shared,
        "tmpfs" | "ramfs" => Kind::Memory,
        "overlay" | "aufs" => Kind::Container,
        _ => Kind::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        24 22 0:23 / /data rw - overlay overlay rw,lowerdir=/a:/b\n\
        25 24 0:24 / /data/my\\040disk rw,noatime shared:2 master:3 - nfs4 nas:/x rw,vers=4.2\n\
        26 22 0:25 / /ro rw - squashfs /dev/sdb ro\n\
        27 22 0:26 / /ro2 ro,relatime - ext4 /dev/sdc rw\n\
        28 22 0:27 / /data rw - tmpfs tmpfs rw\n\
        no mount\n\n- - -\n1 2 3 /a /b - x\n";

    #[test]
    fn a_path_lies_on_the_longest_mount_that_leads_to_it() {
        for (path, name) in [
            ("/", "ext4"),
            ("/database", "ext4"),
            ("/data/x", "tmpfs"),
            ("/data/my disk/spool", "nfs4"),
            ("/ro/x", "squashfs"),
        ] {
            assert_eq!(find(parse(TABLE), Path::new(path)).unwrap().name, name, "{path}");
        }
        assert_eq!(find(parse(b""), Path::new("/")), None);
    }

    #[test]
    fn a_mount_is_read_only_by_its_own_options_or_its_disks() {
        let read_only = |path: &str| find(parse(TABLE), Path::new(path)).unwrap().is_read_only;
        assert!(read_only("/ro") && read_only("/ro2"));
        assert!(!read_only("/") && !read_only("/data"));
    }

    #[test]
    fn lines_that_are_no_mounts_are_passed_over() {
        assert_eq!(parse(TABLE).len(), 6);
        assert_eq!(unescaped(b"a\\011b\\134c\\9\\04"), b"a\tb\\c\\9\\04");
    }

    #[test]
    fn every_kind_is_told_by_its_name() {
        for (kind_expected, names) in [
            (Kind::Local, &["ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat", "fuseblk"][..]),
            (Kind::Network, &["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"]),
            (Kind::Shared, &["9p", "virtiofs", "fakeowner", "fuse.grpcfuse", "fuse", "vboxsf"]),
            (Kind::Memory, &["tmpfs", "ramfs"]),
            (Kind::Container, &["overlay", "aufs"]),
        ] {
            names.iter().for_each(|name| assert_eq!(kind(name), kind_expected, "{name}"));
        }
    }

    #[test]
    fn this_machine_has_a_root() {
        assert!(!cfg!(target_os = "linux") || of(Path::new("/")).is_some());
    }
}
