//! Zips that are as they should be, and such as are not.

mod broken;
mod reading;
mod written;
