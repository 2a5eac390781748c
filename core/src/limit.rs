//! Attempt limits as arithmetic.
