use bytes::Bytes;

/// What can be stored as a value: text or bytes, borrowed or owned.
///
/// Borrowed data is copied once, in one go; a `String`, `Vec<u8>` or [`Bytes`] is taken as it is, which
/// makes them the way for values of many megabytes.
pub trait IntoValue {
    /// The bytes to store.
    fn into_value(self) -> Bytes;
}

impl IntoValue for Bytes {
    fn into_value(self) -> Bytes {
        self
    }
}

impl IntoValue for &Bytes {
    fn into_value(self) -> Bytes {
        self.clone()
    }
}

impl IntoValue for Vec<u8> {
    fn into_value(self) -> Bytes {
        self.into()
    }
}

impl IntoValue for &Vec<u8> {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl IntoValue for &[u8] {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl<const N: usize> IntoValue for &[u8; N] {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl<const N: usize> IntoValue for [u8; N] {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl IntoValue for String {
    fn into_value(self) -> Bytes {
        self.into()
    }
}

impl IntoValue for &String {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_stored_as_they_are_borrowed_or_owned() {
        let (bytes, vector, text) = (Bytes::from("a\0b"), b"a\0b".to_vec(), "a\0b".to_owned());
        let values = [
            (&bytes).into_value(),
            (&vector).into_value(),
            vector.as_slice().into_value(),
            b"a\0b".into_value(),
            (*b"a\0b").into_value(),
            (&text).into_value(),
            text.as_str().into_value(),
            bytes.clone().into_value(),
            vector.into_value(),
            text.into_value(),
        ];
        for value in values {
            assert_eq!(value, bytes);
        }
    }

    #[test]
    fn what_is_owned_is_taken_without_a_copy() {
        let (vector, text) = (vec![7_u8; 100], "x".repeat(100));
        let (vector_at, text_at) = (vector.as_ptr(), text.as_ptr());
        let shared = Bytes::from(vec![7_u8; 100]);
        assert_eq!(vector.into_value().as_ptr(), vector_at);
        assert_eq!(text.into_value().as_ptr(), text_at);
        assert_eq!(shared.clone().into_value().as_ptr(), shared.as_ptr());
    }
}
