use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// How values of type `T` become bytes and come back.
pub trait Codec<T>: Send + Sync {
    /// The bytes of a value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] when the value has no such form.
    fn encode(&self, value: &T) -> Result<Bytes>;

    /// The value that the bytes stand for.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when they stand for none.
    fn decode(&self, bytes: &Bytes) -> Result<T>;

    /// As [`decode`](Self::decode), of bytes that nobody else wants: a value that is bytes can keep
    /// them without a copy or a count of references.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_owned(&self, bytes: Bytes) -> Result<T> {
        self.decode(&bytes)
    }
}

/// MessagePack, structs as maps with field names: compact, readable from other languages, and open
/// to new fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessagePack;

impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn encode(&self, value: &T) -> Result<Bytes> {
        let bytes = rmp_serde::to_vec_named(value).map_err(cannot_encode)?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T> {
        let mut rest: &[u8] = bytes;
        let mut decoder = rmp_serde::Deserializer::new(&mut rest);
        let value = T::deserialize(&mut decoder).map_err(cannot_decode)?;
        if rest.is_empty() { Ok(value) } else { Err(trailing()) }
    }
}

/// JSON text.
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Bytes> {
        let bytes = serde_json::to_vec(value).map_err(cannot_encode)?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T> {
        serde_json::from_slice(bytes).map_err(cannot_decode)
    }
}

/// Bytes and text as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn encode(&self, value: &Bytes) -> Result<Bytes> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &Bytes) -> Result<Bytes> {
        Ok(bytes.clone())
    }

    fn decode_owned(&self, bytes: Bytes) -> Result<Bytes> {
        Ok(bytes)
    }
}

impl Codec<Vec<u8>> for Raw {
    fn encode(&self, value: &Vec<u8>) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(value))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

impl Codec<String> for Raw {
    fn encode(&self, value: &String) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn decode(&self, bytes: &Bytes) -> Result<String> {
        String::from_utf8(bytes.to_vec()).map_err(cannot_decode)
    }
}

fn cannot_encode(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidValue, "the value cannot be encoded").with_source(error)
}

fn cannot_decode(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupt, "the bytes are no such value").with_source(error)
}

fn trailing() -> Error {
    Error::new(ErrorKind::Corrupt, "bytes follow the value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_are_refused() {
        let bytes = Codec::<u32>::encode(&MessagePack, &7).unwrap();
        assert_eq!(Codec::<u32>::decode(&MessagePack, &bytes).unwrap(), 7);
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        let error = Codec::<u32>::decode(&MessagePack, &longer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn bytes_that_are_no_value_are_corrupt() {
        for bytes in [&b""[..], b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"] {
            let bytes = Bytes::copy_from_slice(bytes);
            let error = Codec::<Vec<String>>::decode(&MessagePack, &bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        assert!(Codec::<String>::decode(&Raw, &Bytes::from_static(b"\xff")).is_err());
    }

    #[test]
    fn raw_bytes_are_left_as_they_are() {
        let bytes = Bytes::from_static(b"\x00 text");
        assert_eq!(Codec::<Bytes>::decode(&Raw, &bytes).unwrap(), bytes);
        assert_eq!(Codec::<Bytes>::decode_owned(&Raw, bytes.clone()).unwrap(), bytes);
        assert_eq!(Codec::<String>::decode_owned(&Raw, bytes.clone()).unwrap(), "\x00 text");
        assert_eq!(Codec::<Vec<u8>>::decode(&Raw, &bytes).unwrap(), bytes);
        assert_eq!(Codec::<String>::decode(&Raw, &bytes).unwrap(), "\x00 text");
        assert_eq!(Codec::<Bytes>::encode(&Raw, &bytes).unwrap(), bytes);
        assert_eq!(Codec::<Vec<u8>>::encode(&Raw, &bytes.to_vec()).unwrap(), bytes);
        assert_eq!(Codec::<String>::encode(&Raw, &"\x00 text".to_owned()).unwrap(), bytes);
    }
}
