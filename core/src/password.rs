//! The password policy (NIST SP 800-63B-4).
