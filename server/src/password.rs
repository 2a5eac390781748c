//! Argon2id on a bounded pool of wiped memory blocks.
