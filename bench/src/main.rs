//! Symbolon's figures, as ratios in one run on one machine. Nothing here is a test: nothing fails because a machine is
//! slow or busy. Bare figures without the thing that they are compared with would say more about the machine than about
//! us.
//!
//! `cargo run --release -p symbolon-bench` measures everything; more words choose figures: `… -- session token`.

mod bytes;
mod confirmation;
mod costs;
mod crowd;
mod decide;
mod engines;
mod fleet;
mod following;
mod harness;
mod load;
mod memory;
mod nodes;
mod own_sessions;
mod process;
mod provider;
mod revocation;
mod stores;
mod table;
mod traffic;
mod wire;
mod world;

use harness::Result;
use table::Table;

type Figure = fn(&mut Table) -> Result<()>;

const FIGURES: &[(&str, Figure)] = &[
    ("size", decide::token_size),
    ("token", decide::token_verification),
    ("following", following::verification),
    ("layer", decide::session_layer),
    ("rings", decide::rings),
    ("session", traffic::session_check),
    ("guarded", following::guarded),
    ("introspection", traffic::introspection),
    ("refresh", traffic::refresh),
    ("machines", provider::machines),
    ("codes", provider::codes),
    ("rotations", provider::rotations),
    ("lookups", provider::lookups),
    ("login", traffic::login),
    ("own-sessions", own_sessions::own_sessions),
    ("memory", memory::all),
    ("revocation", revocation::revocation),
    ("weight", revocation::weight),
    ("start", process::start),
    ("nodes", nodes::nodes),
    ("engines", engines::engines),
    ("costs", costs::costs),
    ("bytes", bytes::bytes),
    ("confirmation", confirmation::confirmation),
];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // The kinds of processes that this one starts.
        ["load"] => return load::serve(),
        ["follow"] => return revocation::follow(),
        ["guard"] => return confirmation::guard(),
        ["weigh", what] => return memory::weigh(what),
        _ => {}
    }
    let unknown = words.iter().find(|word| !FIGURES.iter().any(|(name, _)| name == word));
    if let Some(word) = unknown {
        let names: Vec<_> = FIGURES.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no figure `{word}`; there are: {}", names.join(" ")).into());
    }
    let mut table = Table::new();
    for (name, figure) in FIGURES {
        if words.is_empty() || words.iter().any(|word| word == name) {
            figure(&mut table)?;
        }
    }
    Ok(())
}
