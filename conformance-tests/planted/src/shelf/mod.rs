//! A small honest store with every capability, whose inner decisions a [`Twist`] can make wrongly.

mod calls;
mod codec;
mod medium;
mod pages;
mod store;
mod twist;

pub(crate) use codec::Record;
pub(crate) use medium::{Contents, Medium};
pub(crate) use store::{SECRET, Shelf, everything};
pub(crate) use twist::{Call, Honest, Scanned, Twist, join, prefix_of, remember};
