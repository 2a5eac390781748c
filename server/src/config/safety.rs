//! What `symbolon serve` refuses to start with, and what it warns of. `symbolon dev` does neither.

use super::{Config, ConfigError, Origin, Registration};

/// OWASP's least work of Argon2id: every one of its choices computes at least this many KiB in all passes together.
const HASH_WORK_MIN: u64 = HASH_MEMORY_KIB_MIN as u64 * 5;
/// OWASP's least memory of Argon2id. No number of passes makes up for less: memory is what a guesser's card lacks.
const HASH_MEMORY_KIB_MIN: u32 = 7168;

impl Config {
    fn origin(&self, key: &str) -> Origin {
        let shown = self.shown.iter().find(|shown| shown.key == key);
        shown.map_or(Origin::Default, |shown| shown.origin.clone())
    }

    fn error(&self, code: &'static str, key: &str, cause: &str, fix: &str) -> ConfigError {
        ConfigError::new(code, cause, fix).at(key, Some(self.origin(key)))
    }

    /// What makes this configuration unsafe in production; empty if nothing does.
    pub fn refuse_unsafe(&self) -> Vec<ConfigError> {
        let Self { public_url, listen, password, .. } = self;
        let tls = listen.tls_key_file.is_some();
        let mut errors = Vec::new();
        let mut refuse = |code, key, cause, fix| errors.push(self.error(code, key, cause, fix));
        if self.origin("public_url") == Origin::Default {
            refuse(
                "unsafe_public_url",
                "public_url",
                "nobody said where browsers find the server",
                "Write the URL that browsers use, such as https://auth.example. For trying out there is `symbolon dev`.",
            );
        }
        let reached_in_clear = public_url.is_secure() || !listen.address.ip().is_loopback();
        if !tls && listen.trusted_proxies.is_empty() && reached_in_clear {
            refuse(
                "unsafe_plain_http",
                "listen.tls_certificate_file",
                "the server would speak plain http, and no proxy in front is named that speaks https for it",
                "Give listen.tls_certificate_file and listen.tls_key_file, or the proxies' addresses in listen.trusted_proxies.",
            );
        }
        if tls && !public_url.is_secure() {
            refuse(
                "unsafe_scheme",
                "public_url",
                "the server speaks TLS, but its public URL says http",
                "Begin public_url with https.",
            );
        }
        if listen.trusted_proxies.iter().any(|network| network.is_everything()) {
            refuse(
                "unsafe_trusted_proxies",
                "listen.trusted_proxies",
                "everybody is trusted, so everybody could claim any address",
                "Name the proxies' own addresses or network.",
            );
        }
        // A server that is only tried out may hash cheaply.
        let cheap = password.cost.blocks() < HASH_WORK_MIN
            || password.cost.memory_kib() < HASH_MEMORY_KIB_MIN;
        if cheap && !public_url.is_local() {
            refuse(
                "unsafe_password_hash",
                "password.memory_kib",
                "a stolen password hash would be too cheap to guess",
                "Leave password.memory_kib and password.iterations at 19456 and 2, or raise them.",
            );
        }
        errors
    }

    /// What an operator should know, but may want.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let Self { public_url, listen, password, registration, .. } = self;
        let mut warnings = Vec::new();
        let mut warn = |code, key, cause, fix| warnings.push(self.error(code, key, cause, fix));
        if *registration == Registration::Open {
            warn(
                "open_registration",
                "registration.mode",
                "everybody can make an account",
                "Set it to \"invitation\" or \"closed\" if that is not meant.",
            );
        }
        if public_url.is_local() {
            warn(
                "local_public_url",
                "public_url",
                "only browsers on this machine can log in",
                "Write the URL that browsers elsewhere use.",
            );
        }
        if listen.tls_key_file.is_some() && !listen.trusted_proxies.is_empty() {
            warn(
                "tls_behind_proxy",
                "listen.trusted_proxies",
                "TLS and proxies in front are both set up",
                "That is right if the proxies connect over TLS; otherwise drop one of the two.",
            );
        }
        if password.length_min < symbolon_core::password::LENGTH_MIN_DEFAULT {
            warn(
                "short_passwords",
                "password.length_min",
                "NIST SP 800-63B-4 asks for 15 characters where the password stands alone",
                "Set it to 15.",
            );
        }
        warnings
    }
}
