//! The compact form of a JWS (RFC 7515, section 7.1).

/// The signature of the largest RSA key, 4096 bits.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 512;

/// A text cut at its two dots. Each part is still encoded, and decoding it is the check of its alphabet: padding, a
/// loose tail, a fourth part or any other byte fails there.
pub(crate) struct Parts<'t> {
    /// What is signed: header, dot and payload.
    pub(crate) signed: &'t str,
    pub(crate) header: &'t str,
    pub(crate) payload: &'t str,
    pub(crate) signature: &'t str,
}

pub(crate) fn split(text: &str) -> Option<Parts<'_>> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    Some(Parts { signed, header, payload, signature })
}
