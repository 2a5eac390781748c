//! The follow protocol as its page says.

#[cfg(test)]
mod vectors;
