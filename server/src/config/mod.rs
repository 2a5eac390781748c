//! Where settings come from: defaults, one TOML file, `SYMBOLON_*` variables, flags.
