//! The reference of all settings, made from their declarations.

use std::fmt::Write;

use super::{
    reader::written,
    section::{Section, Setting},
};

/// The reference of these sections as Markdown.
pub fn reference(sections: &[Section]) -> String {
    let mut text = "# Settings\n\n\
        Defaults, then the file, then variables, then flags: what comes later wins. \
        Spans of time are a whole number and `ms`, `s`, `m`, `h` or `d`.\n"
        .to_owned();
    for section in sections {
        write_section(&mut text, section);
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    let title = match section.at {
        [] => "Before the first table".to_owned(),
        [name, "#"] => format!("`[[{name}]]`"),
        at => format!("`[{}]`", written(at).replace('*', "NAME")),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n## {title}\n\n{}\n", plain(section.what));
    let _ = writeln!(text, "| setting | type | default | what | variable |\n|---|---|---|---|---|");
    for setting in section.settings {
        let mut key: Vec<&str> = section.at.to_vec();
        key.push(setting.name);
        let variable = match setting.shape {
            super::Shape::Tables => String::new(),
            _ => format!(
                "`SYMBOLON_{}`",
                key.join("__").replace('*', "NAME").replace('#', "N").to_uppercase()
            ),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {variable} |",
            setting.name,
            kind(setting),
            setting.default.map(|default| format!("`{default}`")).unwrap_or_default(),
            plain(setting.what),
        );
    }
}

fn kind(setting: &Setting) -> String {
    let bounds = setting.bounds.map(|(least, most)| {
        format!(", {} to {}", least.trim_matches('"'), most.trim_matches('"'))
    });
    format!("{}{}", setting.kind.replace('|', "\\|"), bounds.unwrap_or_default())
}

/// A doc comment on one line.
fn plain(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
