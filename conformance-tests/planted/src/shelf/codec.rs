use larder_core::{Bytes, Deadline, Error, ErrorKind, Result, StorageObject};

/// What is kept for one key.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    pub(crate) deadline: Option<Deadline>,
    /// The number of the set that wrote the value, from which an odd store makes its versions.
    pub(crate) stamp: u64,
}

impl Record {
    /// A storage object whose data is the stamp, the key's length, the key, and the value.
    pub(crate) fn encode(&self) -> Bytes {
        let len = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
        let (stamp, len) = (self.stamp.to_be_bytes(), len.to_be_bytes());
        let data = [&stamp[..], &len[..], self.key.as_bytes(), &self.value[..]].concat();
        StorageObject::new(data, self.deadline.map(Deadline::to_datetime)).to_bytes()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "the record holds no key");
        let object = StorageObject::from_bytes(bytes.clone())?;
        let (stamp, rest) = object.data.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| corrupt())?;
        let key = rest.get(..len).and_then(|key| std::str::from_utf8(key).ok());
        Ok(Self {
            key: key.ok_or_else(corrupt)?.to_owned(),
            value: object.data.slice(12 + len..),
            deadline: object.expires_at.map(Deadline::at),
            stamp: u64::from_be_bytes(*stamp),
        })
    }
}
