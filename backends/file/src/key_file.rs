//! One key's file, open for reading.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use larder_core::Clock;
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Fault, Raw};
use crate::folder::{Root, is_file, is_link, open_at};
use crate::layout::{FolderPath, KeyHash};
use crate::record::{self, Head, Life, MAX_HEAD_LEN, Record};

/// Never waits for a FIFO's other end, a device or a lease.
pub(crate) const OPEN_KEY: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A regular file with a key's name.
#[derive(Debug)]
pub(crate) struct KeyFile {
    fd: OwnedFd,
    len: u64,
    place: PathBuf,
}

impl KeyFile {
    /// Opens a key's file below the root; `None` when there is none.
    pub(crate) fn open(root: &Root, path: &FolderPath, hash: KeyHash) -> Raw<Option<Self>> {
        let name = hash.file_name();
        #[cfg(target_os = "linux")]
        {
            let whole = crate::linux::path_of(path, name.as_str());
            if let Some(opened) = crate::linux::open(root.fd(), &whole, OPEN_KEY) {
                return Self::opened(opened, || root.place(path, name.as_str()));
            }
        }
        match root.folder(path)? {
            Some(folder) => {
                use std::os::fd::AsFd;
                let opened = open_at(folder.as_fd(), name.as_str(), OPEN_KEY);
                Self::opened(opened, || root.place(path, name.as_str()))
            }
            None => Ok(None),
        }
    }

    /// Opens a key's file in its folder; `None` when there is none.
    pub(crate) fn open_in(
        folder: BorrowedFd<'_>,
        hash: KeyHash,
        place: impl Fn() -> PathBuf,
    ) -> Raw<Option<Self>> {
        Self::opened(open_at(folder, hash.file_name().as_str(), OPEN_KEY), place)
    }

    fn opened(
        opened: rustix::io::Result<OwnedFd>,
        place: impl Fn() -> PathBuf,
    ) -> Raw<Option<Self>> {
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            // A symlink; a socket, or a device without a driver.
            Err(errno)
                if is_link(errno)
                    || matches!(errno, Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP) =>
            {
                return Err(Fault::NotAFile { place: place() });
            }
            Err(Errno::NOTDIR) => return Err(Fault::NotAFolder { place: place() }),
            Err(errno) => return Err(Fault::os("opening", &place())(errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| Fault::os("reading", &place())(errno))?;
        if !is_file(&stat) {
            return Err(Fault::NotAFile { place: place() });
        }
        Ok(Some(Self { fd, len: u64::try_from(stat.st_size).unwrap_or(0), place: place() }))
    }

    /// Reads and verifies the whole record.
    pub(crate) fn record(&self, is_meant: impl FnMut(&str) -> bool) -> Raw<Record> {
        let bytes = self.read(self.len)?;
        record::decode(&bytes.into(), is_meant)
            .map_err(|cause| Fault::Corrupt { cause, place: self.place.clone() })
    }

    /// Reads what the beginning tells, or the whole where that does not do.
    pub(crate) fn head(&self, mut is_meant: impl FnMut(&str) -> bool) -> Raw<Head> {
        let start = self.read(self.len.min(MAX_HEAD_LEN as u64))?;
        if let Some(head) = record::decode_head(&start, self.len)
            && head.key.as_deref().is_none_or(&mut is_meant)
        {
            return Ok(head);
        }
        let mut key = None;
        let record = self.record(|own| {
            key = Some(own.to_owned());
            is_meant(own)
        })?;
        Ok(Head { expires_at: record.expires_at, key })
    }

    /// Tells whether the key is live by what the beginning says.
    pub(crate) fn seems_live(
        &self,
        clock: &dyn Clock,
        is_meant: impl FnMut(&str) -> bool,
    ) -> Raw<bool> {
        Ok(self.head(is_meant)?.is_live(clock.now()))
    }

    /// Tells whether the key is live; one that has expired is verified as a whole, since a damaged
    /// expiry is no reason to call a key expired.
    pub(crate) fn is_live(
        &self,
        clock: &dyn Clock,
        mut is_meant: impl FnMut(&str) -> bool,
    ) -> Raw<bool> {
        Ok(self.seems_live(clock, &mut is_meant)? || self.record(is_meant)?.is_live(clock.now()))
    }

    fn read(&self, len: u64) -> Raw<Vec<u8>> {
        let failed = || Fault::os("reading", &self.place);
        if self.len > record::MAX_FILE_LEN {
            let cause = record::corrupt("it is longer than any record");
            return Err(Fault::Corrupt { cause, place: self.place.clone() });
        }
        let len = usize::try_from(len).map_err(|_| failed()(Errno::NOMEM))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| failed()(Errno::NOMEM))?;
        while bytes.len() < len {
            let at = bytes.len() as u64;
            match rustix::io::pread(&self.fd, spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed()(errno)),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// A whole record that was read elsewhere.
#[cfg(target_os = "linux")]
pub(crate) fn decode_at(bytes: Vec<u8>, key: &str, place: impl Fn() -> PathBuf) -> Raw<Record> {
    record::decode(&bytes.into(), |own| own == key)
        .map_err(|cause| Fault::Corrupt { cause, place: place() })
}
