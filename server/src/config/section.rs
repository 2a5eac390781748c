//! One declaration per section of the file: the fields of a struct *are* its settings. Reading, the detection of unknown
//! keys, `config show` and the reference come from it, so they cannot drift apart.

use super::value::Shape;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key within the section.
    pub name: &'static str,
    /// What it is for, and why the default is what it is.
    pub what: &'static str,
    /// What can be written.
    pub kind: &'static str,
    /// How it is written.
    pub example: &'static str,
    /// How it stands in TOML.
    pub shape: Shape,
    /// What it is when nobody says anything, in TOML.
    pub default: Option<&'static str>,
    /// The least and the greatest value, in TOML.
    pub bounds: Option<(&'static str, &'static str)>,
    /// Whether its value is shown to nobody.
    pub secret: bool,
}

/// A section and its place. A `*` stands for a name, a `#` for the number of a table in a list of tables.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its table.
    pub at: &'static [&'static str],
    /// What it is about.
    pub what: &'static str,
    /// What stands in it.
    pub settings: &'static [Setting],
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

macro_rules! section {
    ($(
        $(#[doc = $doc:literal])+
        pub struct $section:ident {$(
            $(#[doc = $what:literal])+
            $field:ident: $type:ty
            $(= $default:literal)?
            $(, in $least:literal ..= $most:literal)?
            $(, secret $secret:literal)?;
        )*}
    )*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $section {
            $($(#[doc = $what])+ pub $field: $type,)*
        }

        impl $section {
            /// What the section is about.
            pub const WHAT: &'static str = concat!($($doc, "\n"),+);
            /// Its settings, in the order of the reference.
            pub const SETTINGS: &'static [Setting] = &[$(Setting {
                name: stringify!($field),
                what: concat!($($what, "\n"),+),
                kind: <$type as FromValue>::NAME,
                example: <$type as FromValue>::EXAMPLE,
                shape: <$type as FromValue>::SHAPE,
                default: optional!($($default)?),
                bounds: optional!($(($least, $most))?),
                secret: matches!(optional!($($secret)?), Some(true)),
            }),*];

            /// Reads the section at this place; errors go to the reader.
            pub(super) fn read(reader: &mut Reader<'_>, at: &[&str]) -> Option<Self> {
                let mut settings = Self::SETTINGS.iter();
                $(
                    let setting = settings.next()?;
                    let $field = reader.get::<$type>(at, setting);
                    $(
                        let $field = reader.bounded(at, setting, $field, $least, $most);
                    )?
                )*
                Some(Self { $($field: $field?),* })
            }
        }
    )*};
}

macro_rules! table {
    ($($section:ident at $at:expr;)*) => {
        /// All sections, in the order of the reference.
        pub const SECTIONS: &[Section] = &[
            $(Section { at: &$at, what: $section::WHAT, settings: $section::SETTINGS }),*
        ];
    };
}

pub(super) use {optional, section, table};
