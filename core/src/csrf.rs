//! The CSRF decision: which proof of same origin an unsafe request carried by a cookie must show.
