/// The longest key, in bytes of UTF-8, that every backend of this workspace takes (`K1`).
pub const MAX_KEY_LEN: usize = 4096;
