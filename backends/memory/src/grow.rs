/// How much room to ask for before one more element is put into a full vector: an eighth of what it
/// holds, for memory counts here more than the copies.
pub(crate) fn room_for_one(len: usize, capacity: usize) -> usize {
    if len < capacity { 0 } else { (len / 8).max(4) }
}
