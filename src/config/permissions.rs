//! Files that other users could read, change or replace: what is in them is not used.
//!
//! The rule is PostgreSQL's for its key files (`ssl_key_file`): a file of the user's own is for that
//! user alone; root may let a group read one of root's, as systemd does with credentials and
//! Kubernetes with secrets. That of OpenSSH (`StrictModes`) for what leads there: a file belongs to
//! root or the user, and so does each folder on the way, in which nobody else may write. Modes are
//! looked at, not access, so that root is told too; a symbolic link counts as what it leads to.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Group, Uid, UnlinkatFlags, User, getgroups, unlinkat};

/// A file or folder that others could read or change: which one, and how to mend that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenFile(String);

/// How many symbolic links are followed at most, as by the system (path_resolution(7)).
const LINKS: usize = 40;

/// What a container is given cannot be changed in it.
const CONTAINERS: &str = "what is mounted into a container is mounted closed: in Kubernetes by `defaultMode: 0400`, with `fsGroup` for a user other than root, in Docker by `mode: 0400` and `uid`";

/// The private folders that there are.
static PRIVATE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn private_folders() -> MutexGuard<'static, Vec<PathBuf>> {
    PRIVATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that this process has made for itself alone, and that goes with this. Who may write in the
/// folders around it does not matter: what is in it is this process's own, and places for temporary files
/// and backups are often shared. It is locked as long as its process lives, by which the next one knows what
/// nobody works in any more.
pub struct PrivateFolder {
    folder: tempfile::TempDir,
    _lock: File,
}

impl PrivateFolder {
    /// Makes one among the temporary files.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn new() -> io::Result<Self> {
        Self::make_in(&std::env::temp_dir(), ".dirsyncd-")
    }

    /// Makes one in a folder; its name begins so. Those of that name are removed whose processes were killed.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn make_in(folder: &Path, prefix: &str) -> io::Result<Self> {
        let around = std::path::absolute(folder)?;
        remove_left_over(&around, prefix);
        loop {
            let made = tempfile::Builder::new()
                .prefix(prefix)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&around)?;
            // Until it is locked, another process may take it for left over, and remove it.
            let lock = match File::open(made.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            // Where folders cannot be locked, nothing is taken for left over.
            let is_taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
            if !is_taken && made.path().exists() {
                private_folders().push(made.path().to_owned());
                return Ok(PrivateFolder {
                    folder: made,
                    _lock: lock,
                });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        private_folders().retain(|path| path != self.folder.path());
    }
}

/// Removes the user's own private folders whose processes were killed, as far as that can be done.
fn remove_left_over(around: &Path, prefix: &str) {
    for entry in fs::read_dir(around).into_iter().flatten().flatten() {
        let is_named_so = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes());
        // Not through a link.
        let is_ours = |kind: Metadata| kind.is_dir() && kind.uid() == Uid::effective().as_raw();
        if is_named_so
            && entry.metadata().is_ok_and(is_ours)
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whom the folders on the way to a file may let write.
#[derive(Clone, Copy)]
enum Others {
    /// Nobody but root and the user.
    Nobody,
    /// Also the owner of the folder, whoever that is.
    Owner,
    /// Also a group.
    Group,
}

/// Nobody else may read or change a file. `what` names it in the message, such as `the secret file`.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_private(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    expect_owner(what, path, file, " && chmod 600")?;
    expect_closed(what, path, file, CONTAINERS)?;
    expect_folders(path, Others::Nobody)
}

/// Nobody else may change a file; everybody may read it. The user's own file may have been opened to a group
/// without other members, as a volume of Kubernetes opens it to its `fsGroup`.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_guarded(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    expect_owner(what, path, file, " && chmod go-w")?;
    let is_ours = file.uid() == Uid::effective().as_raw();
    let others = match is_ours && is_for_us_alone(Gid::from_raw(file.gid())) {
        true => 0o002,
        false => 0o022,
    };
    expect_unchanged_by(others, "go-w", what, path, file)?;
    expect_folders(path, Others::Nobody)
}

/// Not everybody may change a file. Whoever writes a directory to a file may be another user, or one
/// of a group.
///
/// # Errors
/// [`OpenFile`] where everybody may.
pub fn expect_known_writers(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    expect_unchanged_by(0o002, "o-w", what, path, file)
}

/// Not everybody may replace a file by another.
///
/// # Errors
/// [`OpenFile`] where everybody may write in a folder on the way to it.
pub fn expect_known_folders(path: &Path) -> Result<(), OpenFile> {
    expect_folders(path, Others::Group)
}

/// Nobody else may replace a file of the database. For root the folder may be anybody's: it is that of
/// the daemon's user, into whose database root looks.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_own_folders(path: &Path) -> Result<(), OpenFile> {
    expect_folders(path, database_s_others())
}

/// Nobody else may read or change a file of the database, if it is there. A file of the user's own that
/// was opened to others is closed again, as Kubernetes opens what is on a volume to its `fsGroup`
/// each time that it is mounted; unless others could have changed it. What a link leads to is looked at
/// by its own name.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_own(what: &str, path: &Path) -> Result<(), OpenFile> {
    // Neither followed nor opened for reading, as closing it would drop the locks that SQLite holds on it.
    let handle = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_PATH | OFlag::O_NOFOLLOW).bits())
        .open(path);
    let Ok((handle, mut file)) = handle.and_then(|handle| {
        let file = handle.metadata()?;
        Ok((handle, file))
    }) else {
        return Ok(());
    };
    if file.is_symlink() {
        return expect_own_link(what, path, &file);
    }
    let is_ours = file.is_file() && file.nlink() == 1 && file.uid() == Uid::effective().as_raw();
    let (is_open, by_group) = (file.mode() & 0o077 != 0, file.mode() & 0o020 != 0);
    let is_changed =
        file.mode() & 0o002 != 0 || (by_group && !is_for_us_alone(Gid::from_raw(file.gid())));
    // What does not come of it is seen below.
    if is_ours && is_open && !is_changed {
        // By the handle, so that nothing else is closed in its place.
        let this = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let closed = fs::set_permissions(this, Permissions::from_mode(0o600));
        let was = format!("{:04o}", file.mode() & 0o7777);
        if by_group {
            tracing::warn!(file = %path.display(), was, ?closed, "a file of the database was open to its group for writing, and is closed");
        } else {
            tracing::info!(file = %path.display(), was, ?closed, "a file of the database was open to others, and is closed");
        }
        file = handle.metadata().unwrap_or(file);
    }
    expect_own_file(what, path, &file)
}

/// Nobody else may read or change a file of the database that was opened. It belongs to root or the user; root
/// also looks into that of another one, the daemon's user.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_own_file(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    if file.is_dir() {
        return Err(OpenFile(format!(
            "{what} {} is a folder: name a file in it",
            path.display()
        )));
    }
    match database_s_others() {
        Others::Owner => expect_put_there(what, path, file)?,
        Others::Nobody | Others::Group => expect_owner(what, path, file, " && chmod 600")?,
    }
    let hint = "in Kubernetes keep the `runAsUser` that made it, and set `fsGroupChangePolicy: OnRootMismatch`";
    expect_closed(what, path, file, hint)
}

/// Root takes a file of the database for the daemon's where its folder's owner has put it; where nobody but
/// root may put one, whoever it belongs to. Where others may, it has no other name, by which it could be a file
/// of somebody else.
fn expect_put_there(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    let folder = fs::metadata(folder_of(path)).ok();
    let (owner, mode) = folder.as_ref().map_or((0, 0), |it| (it.uid(), it.mode()));
    let by_group = mode & 0o020 != 0;
    let by_strangers = mode & 0o002 != 0
        || (by_group && folder.is_some_and(|it| !is_for_us_alone(Gid::from_raw(it.gid()))));
    let name = path.display();
    if ![0, owner].contains(&file.uid()) && (owner != 0 || by_strangers) {
        return Err(OpenFile(format!(
            "{what} {name} belongs to another user, {} (mode {:04o}): run dirsyncd as that user ({})",
            file.uid(),
            file.mode() & 0o7777,
            name_of(file.uid())
        )));
    }
    let is_root_s = owner == 0 && file.uid() == 0 && !by_group && !by_strangers;
    if !is_root_s && (!file.is_file() || file.nlink() > 1) {
        return Err(OpenFile(format!(
            "{what} {name} is no file, or has another name as well, and not only root may have put it there: see what it is (`ls -l {name}`), or run dirsyncd as the daemon's user"
        )));
    }
    Ok(())
}

fn name_of(user: u32) -> String {
    let known = User::from_uid(Uid::from_raw(user)).ok().flatten();
    known.map_or_else(|| user.to_string(), |user| user.name)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a file of the database that is not there yet, for its owner alone. What root makes in a folder of
/// another user, the daemon's, is that user's, who has to open it too.
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) where something is there, be it a link that leads nowhere;
/// else what the system says. Then there is no file.
pub fn make_own(path: &Path) -> io::Result<File> {
    // In the folder that is looked at, whatever its owner puts in its place meanwhile.
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits())
        .open(folder_of(path))?;
    let owner = folder.metadata()?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = File::from(openat(&folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    if Uid::effective().is_root()
        && owner.uid() != 0
        && let Err(error) = fchown(&file, Some(owner.uid()), Some(owner.gid()))
    {
        unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)?;
        return Err(error);
    }
    Ok(file)
}

/// The names by which the system comes to a file: this one and, while that is a link, what the link says. The
/// last one leads to the file itself, or to none.
pub fn names_of(path: &Path) -> Vec<PathBuf> {
    let mut names = vec![path.to_owned()];
    while names.len() <= LINKS
        && let Some(name) = names.last()
        && let Ok(link) = fs::read_link(name)
    {
        names.push(folder_of(name).join(link));
    }
    names
}

/// The one name of a file, by whatever links a path leads to it, also where there is none yet.
pub fn real_name(path: &Path) -> PathBuf {
    let last = names_of(path).pop().unwrap_or_else(|| path.to_owned());
    match (folder_of(&last).canonicalize(), last.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        // Whoever opens it is told why.
        _ => last,
    }
}

/// The path of what stands beside a file under its name and this ending.
pub fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A link in place of a file of the database is root's or the user's; root follows that of another user only to
/// that user's own files.
fn expect_own_link(what: &str, path: &Path, link: &Metadata) -> Result<(), OpenFile> {
    let is_known = [0, Uid::effective().as_raw()].contains(&link.uid());
    let is_own = || fs::metadata(path).is_ok_and(|file| file.uid() == link.uid());
    if is_known || (matches!(database_s_others(), Others::Owner) && is_own()) {
        return Ok(());
    }
    let (name, owner) = (path.display(), link.uid());
    Err(OpenFile(format!(
        "{what} {name} is a link of another user, {owner}, who decides where it leads: run `rm {name}`, or dirsyncd as that user"
    )))
}

/// What a user is called.
pub fn user_name(uid: Uid) -> String {
    // A container may know its users by number only, and a directory of users may be down.
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

fn database_s_others() -> Others {
    match Uid::effective().is_root() {
        true => Others::Owner,
        false => Others::Nobody,
    }
}

/// The owner decides what is in a file, whatever its mode.
fn expect_owner(what: &str, path: &Path, file: &Metadata, and_then: &str) -> Result<(), OpenFile> {
    let user = Uid::effective();
    if file.uid() == 0 || file.uid() == user.as_raw() {
        return Ok(());
    }
    let (name, owner) = (path.display(), file.uid());
    Err(OpenFile(format!(
        "{what} {name} belongs to another user, {owner} (mode {:04o}): run `chown {user} {name}{and_then} {name}`, or dirsyncd as that user",
        file.mode() & 0o7777
    )))
}

fn expect_closed(what: &str, path: &Path, file: &Metadata, hint: &str) -> Result<(), OpenFile> {
    let is_root_s = file.uid() == 0;
    let others = if is_root_s { 0o037 } else { 0o077 };
    if file.mode() & others == 0 {
        return Ok(());
    }
    let name = path.display();
    let mend = if is_root_s && !Uid::effective().is_root() {
        format!("chgrp {} {name} && chmod 640 {name}", Gid::effective())
    } else {
        format!("chmod 600 {name}")
    };
    Err(OpenFile(format!(
        "{what} {name} is open to other users (mode {:04o}): run `{mend}`; {hint}",
        file.mode() & 0o7777
    )))
}

fn expect_unchanged_by(
    others: u32,
    mend: &str,
    what: &str,
    path: &Path,
    file: &Metadata,
) -> Result<(), OpenFile> {
    if file.mode() & others == 0 {
        return Ok(());
    }
    let name = path.display();
    Err(OpenFile(format!(
        "{what} {name} may be changed by other users (mode {:04o}): run `chmod {mend} {name}`",
        file.mode() & 0o7777
    )))
}

/// Who may write in a folder on the way to a file may put another one in its place.
fn expect_folders(path: &Path, others: Others) -> Result<(), OpenFile> {
    let mut open = way_to(path).into_iter();
    open.find_map(|folder| open_folder(&folder, others))
        .map_or(Ok(()), Err)
}

/// All folders by which the system comes to a file, also by symbolic links; from a private one on.
fn way_to(path: &Path) -> Vec<PathBuf> {
    let private = private_folders().clone();
    let mut ways = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_owned())];
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut taken = 0;
    while let Some(way) = ways.get(taken).cloned() {
        taken += 1;
        for part in way.ancestors() {
            if private.iter().any(|folder| folder == part) {
                break;
            }
            if part != way && !folders.iter().any(|folder| folder == part) {
                folders.push(part.to_owned());
            }
            if let (Ok(link), Some(folder)) = (fs::read_link(part), part.parent()) {
                let target = folder.join(link);
                if ways.len() <= LINKS && !ways.contains(&target) {
                    ways.push(target);
                }
            }
        }
    }
    folders
}

fn open_folder(folder: &Path, others: Others) -> Option<OpenFile> {
    // What is not there, or cannot be looked at, is told by whoever opens the file.
    let found = fs::metadata(folder).ok()?;
    let (mode, user) = (found.mode(), Uid::effective());
    // Whoever has `/` has the machine; in some containers that is an odd number.
    let is_known = [0, user.as_raw()].contains(&found.uid()) || folder == Path::new("/");
    let is_foreign = matches!(others, Others::Nobody) && !is_known;
    // In a sticky folder everybody replaces only what is their own.
    let is_sticky = mode & 0o1000 != 0;
    let by_group = mode & 0o020 != 0
        && !matches!(others, Others::Group)
        && !is_for_us_alone(Gid::from_raw(found.gid()));
    let is_open = !is_sticky && (mode & 0o002 != 0 || by_group) && !is_mounted(folder, &found);
    if !(is_foreign || is_open) {
        return None;
    }
    let name = folder.display();
    let mut mend = Vec::new();
    if is_foreign {
        mend.push(format!("chown {user} {name}"));
    }
    if is_open {
        let whom = if by_group { "go-w" } else { "o-w" };
        mend.push(format!("chmod {whom} {name}"));
    }
    Some(OpenFile(format!(
        "the folder {name} belongs to user {} (mode {:04o}), so that other users may replace what is in it: run `{}`",
        found.uid(),
        mode & 0o7777,
        mend.join(" && ")
    )))
}

/// Whether a group has no members that count as others: root's group; or one of this process that is a
/// number and nothing else, such as the `fsGroup` of Kubernetes, or the user's private group.
fn is_for_us_alone(group: Gid) -> bool {
    let is_ours =
        group == Gid::effective() || getgroups().is_ok_and(|groups| groups.contains(&group));
    let is_private = || match Group::from_gid(group) {
        Ok(None) => true,
        Ok(Some(group)) => User::from_uid(Uid::effective())
            .ok()
            .flatten()
            .is_some_and(|user| {
                user.name == group.name && group.mem.iter().all(|member| *member == user.name)
            }),
        // So says the library where there is no such file at all, as in images without a system.
        Err(Errno::ENOENT) => matches!(Path::new("/etc/group").try_exists(), Ok(false)),
        Err(_) => false,
    };
    group.as_raw() == 0 || (is_ours && is_private())
}

/// Whether a folder was given to this machine or container as it is, as Kubernetes gives configuration and
/// secrets: root's, of the mode 0777, mounted read-only by itself, with the files one folder below. That
/// all is read-only in a service with `ProtectSystem=strict` says nothing of who may change it outside.
fn is_mounted(folder: &Path, found: &Metadata) -> bool {
    let is_read_only =
        || statvfs(folder).is_ok_and(|mounted| mounted.flags().contains(FsFlags::ST_RDONLY));
    let is_mount_point = || {
        let Ok(folder) = folder.canonicalize() else {
            return false;
        };
        let mount_points = mount_points();
        let above = [Some(folder.as_path()), folder.parent()];
        let mut above = above.into_iter().flatten();
        above.any(|folder| {
            folder != Path::new("/") && mount_points.iter().any(|point| point == folder)
        })
    };
    found.uid() == 0 && is_read_only() && is_mount_point()
}

/// What something is mounted on (proc_pid_mountinfo(5)); nothing where that cannot be read.
fn mount_points() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let lines = table.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescaped)
        .collect()
}

/// A path of that table, in which spaces and the like stand as `\040`.
fn unescaped(mut field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    while let Some((first, rest)) = field.split_first() {
        let code = rest.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 8).ok());
        path.push(code.unwrap_or(*first));
        field = if code.is_some() { &rest[3..] } else { rest };
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with a guarded file in `outer/inner/`.
    fn nested() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        for folder in [&inner, &root.path().join("outer")] {
            set_mode(folder, 0o755);
        }
        let file = inner.join("file");
        fs::write(&file, "").unwrap();
        set_mode(&file, 0o600);
        (root, file)
    }

    fn check(path: &Path) -> Result<(), String> {
        let file = fs::metadata(path).unwrap();
        expect_private("the secret file", path, &file).map_err(|open| open.to_string())
    }

    #[test]
    fn every_folder_on_the_way_counts_unless_it_is_sticky() {
        let (root, file) = nested();
        let outer = root.path().join("outer");
        assert_eq!(check(&file), Ok(()));
        for (mode, whom) in [(0o757, "o-w"), (0o777, "o-w")] {
            set_mode(&outer, mode);
            let mend = format!("run `chmod {whom} {}`", outer.display());
            assert!(check(&file).unwrap_err().contains(&mend));
        }
        set_mode(&outer, 0o1777);
        assert_eq!(check(&file), Ok(()));
    }

    #[test]
    fn the_folders_behind_links_count_too() {
        // As Kubernetes mounts a volume: key -> ..data/key, ..data -> ..2024.
        let (root, file) = nested();
        let inner = file.parent().unwrap();
        let volume = root.path().join("volume");
        fs::create_dir(&volume).unwrap();
        set_mode(&volume, 0o755);
        symlink(inner, volume.join("..data")).unwrap();
        symlink("..data/file", volume.join("file")).unwrap();
        assert_eq!(check(&volume.join("file")), Ok(()));
        for open in [inner, volume.as_path()] {
            set_mode(open, 0o707);
            let words = check(&volume.join("file")).unwrap_err();
            assert!(words.contains("(mode 0707)"), "{words}");
            set_mode(open, 0o755);
        }
        // A link that leads to itself ends, too.
        symlink("round", volume.join("round")).unwrap();
        assert!(way_to(&volume.join("round")).contains(&volume));
    }

    #[test]
    fn a_file_of_the_database_is_closed_unless_everybody_could_have_changed_it() {
        let (_root, file) = nested();
        let own = || expect_own("the database file", &file).map_err(|open| open.to_string());
        for mode in [0o660, 0o640, 0o644, 0o2660] {
            set_mode(&file, mode);
            assert_eq!(own(), Ok(()));
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        }
        set_mode(&file, 0o662);
        assert!(own().unwrap_err().contains("(mode 0662): run `chmod 600 "));
        // What has another name as well may be something else.
        set_mode(&file, 0o660);
        fs::hard_link(&file, file.with_extension("other")).unwrap();
        assert!(own().unwrap_err().contains("(mode 0660): run `chmod 600 "));
    }

    /// Gives a file to a user and a group, where this is root.
    fn give(path: &Path, user: u32, group: u32) {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }

    /// Neither root's group nor one of this process.
    const STRANGERS: u32 = 65_533;

    #[test]
    fn a_group_of_others_may_neither_write_in_a_folder_nor_change_a_file() {
        if !Uid::effective().is_root() {
            return;
        }
        let (root, file) = nested();
        let outer = root.path().join("outer");
        set_mode(&outer, 0o775);
        assert_eq!(check(&file), Ok(()));
        give(&outer, 0, STRANGERS);
        let words = check(&file).unwrap_err();
        let mend = format!(
            "(mode 0775), so that other users may replace what is in it: run `chmod go-w {}`",
            outer.display()
        );
        assert!(words.contains(&mend), "{words}");
        assert!(expect_own_folders(&file).is_err());
        assert!(expect_known_folders(&file).is_ok());
        set_mode(&outer, 0o755);

        // What is opened to a group of our own is ours still.
        set_mode(&file, 0o664);
        let guarded = || {
            let found = fs::metadata(&file).unwrap();
            expect_guarded("the plan", &file, &found).map_err(|open| open.to_string())
        };
        assert_eq!(guarded(), Ok(()));
        give(&file, 0, STRANGERS);
        assert!(
            guarded()
                .unwrap_err()
                .contains("(mode 0664): run `chmod go-w ")
        );

        set_mode(&file, 0o660);
        let own = || expect_own("the database file", &file).map_err(|open| open.to_string());
        assert!(own().unwrap_err().contains("(mode 0660): run `chmod 600 "));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o660);
        // It could not be changed.
        set_mode(&file, 0o640);
        assert_eq!(own(), Ok(()));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_of_others_is_refused_but_for_a_database_that_root_looks_into() {
        if !Uid::effective().is_root() {
            return;
        }
        let (root, file) = nested();
        let outer = root.path().join("outer");
        give(&outer, 65_534, 65_534);
        let words = check(&file).unwrap_err();
        let mend = format!("run `chown 0 {}`", outer.display());
        assert!(
            words.contains("belongs to user 65534 (mode 0755)"),
            "{words}"
        );
        assert!(words.contains(&mend), "{words}");
        assert!(expect_own_folders(&file).is_ok());
    }

    #[test]
    fn root_uses_a_database_of_its_folder_s_owner_and_no_other() {
        if !Uid::effective().is_root() {
            return;
        }
        let (root, file) = nested();
        let inner = file.parent().unwrap();
        let own =
            |path: &Path| expect_own("the database file", path).map_err(|open| open.to_string());
        give(&file, 65_534, 65_534);
        // Where only root may put one, it is the daemon's.
        assert_eq!(own(&file), Ok(()));
        let other = inner.join("other");
        fs::hard_link(&file, &other).unwrap();
        assert!(own(&file).unwrap_err().contains("has another name as well"));
        fs::remove_file(&other).unwrap();
        // Where others may put one.
        let nobody = name_of(65_534);
        let foreign = format!(
            "belongs to another user, 65534 (mode 0600): run dirsyncd as that user ({nobody})"
        );
        for (mode, group) in [(0o1777, 0), (0o1775, STRANGERS)] {
            give(inner, 0, group);
            set_mode(inner, mode);
            assert!(own(&file).unwrap_err().ends_with(&foreign), "{mode:o}");
        }
        set_mode(inner, 0o755);
        give(inner, 65_534, 65_534);
        assert_eq!(own(&file), Ok(()));
        give(&file, 1, 1);
        assert!(
            own(&file)
                .unwrap_err()
                .contains("belongs to another user, 1 ")
        );

        // What that owner has made a link or another name of is root's.
        let secret = root.path().join("secret");
        fs::write(&secret, "").unwrap();
        set_mode(&secret, 0o600);
        let (link, name) = (inner.join("link"), inner.join("name"));
        for target in [secret.as_path(), Path::new("nowhere")] {
            symlink(target, &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
            assert!(
                own(&link)
                    .unwrap_err()
                    .contains("is a link of another user, 65534")
            );
            fs::remove_file(&link).unwrap();
        }
        fs::hard_link(&secret, &name).unwrap();
        assert!(own(&name).unwrap_err().contains("has another name as well"));
    }

    #[test]
    fn what_root_makes_in_a_folder_of_another_user_is_that_user_s() {
        if !Uid::effective().is_root() {
            return;
        }
        let (_root, file) = nested();
        let folder = file.parent().unwrap();
        let owner = |path: &Path| {
            let found = fs::metadata(path).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o7777)
        };
        let (own, given) = (folder.join("own"), folder.join("given"));
        make_own(&own).unwrap();
        assert_eq!((owner(&own).0, owner(&own).2), (0, 0o600));
        give(folder, 65_534, STRANGERS);
        make_own(&given).unwrap();
        assert_eq!(owner(&given), (65_534, STRANGERS, 0o600));
        // Nothing is made where a link leads, nor is what is there given away.
        let link = folder.join("link");
        symlink("nowhere", &link).unwrap();
        for there in [&own, &link] {
            let error = make_own(there).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(owner(&own).0, 0);
        assert!(!folder.join("nowhere").exists());
    }

    #[test]
    fn a_file_has_one_name_whatever_leads_to_it_and_whether_it_is_there() {
        let (root, file) = nested();
        let root = root.path().canonicalize().unwrap();
        for (link, target) in [
            ("outer/inner/near", "file"),
            ("far", "outer/inner/near"),
            ("folder", "outer/inner"),
            ("gone", "folder/../inner/missing"),
            ("round", "round"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let real = file.canonicalize().unwrap();
        for name in ["outer/inner/file", "outer/inner/near", "far", "folder/file"] {
            assert_eq!(real_name(&root.join(name)), real, "{name}");
        }
        assert_eq!(
            real_name(&root.join("gone")),
            real.with_file_name("missing")
        );
        assert_eq!(names_of(&root.join("far")).len(), 3);
        assert_eq!(names_of(&root.join("round")).len(), LINKS + 1);
    }

    #[test]
    fn around_a_private_folder_anybody_may_write() {
        let (_root, file) = nested();
        let outer = file.parent().unwrap().parent().unwrap();
        set_mode(outer, 0o777);
        let made = PrivateFolder::make_in(outer, "private-").unwrap();
        let (folder, kept) = (made.path().to_owned(), made.path().join("copy"));
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        fs::write(&kept, "").unwrap();
        set_mode(&kept, 0o600);
        assert_eq!(check(&kept), Ok(()));
        assert!(expect_own_folders(&kept).is_ok());
        assert!(check(&file).is_err());
        drop(made);
        assert!(!folder.exists());
        // Nor is one of that name private after it.
        fs::create_dir(&folder).unwrap();
        set_mode(&folder, 0o700);
        fs::write(&kept, "").unwrap();
        assert!(expect_own_folders(&kept).is_err());
    }

    #[test]
    fn a_private_folder_whose_process_was_killed_is_removed_by_the_next_one_and_no_other_is() {
        let root = tempfile::tempdir().unwrap();
        let make = || PrivateFolder::make_in(root.path(), "private-").unwrap();
        let at_work = make();
        let elsewhere = root.path().join("elsewhere");
        let (left_over, link) = (
            root.path().join("private-old"),
            root.path().join("private-link"),
        );
        for folder in [&left_over, &elsewhere] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("copy"), "").unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        fs::write(root.path().join("private-file"), "").unwrap();

        let next = make();

        assert!(!left_over.exists());
        assert!(at_work.path().exists() && next.path().exists());
        assert!(elsewhere.join("copy").exists() && link.exists());
        assert!(root.path().join("private-file").exists());
    }

    #[test]
    fn paths_of_mount_points_are_read_as_they_are() {
        let path = |field: &str| unescaped(field.as_bytes());
        assert_eq!(path("/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(path("/a\\04"), Path::new("/a\\04"));
        assert!(mount_points().iter().any(|point| point == "/proc"));
    }
}
