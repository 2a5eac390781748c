//! Whose pages these are: a name, a mark, one accent colour, some links.

use std::{fmt, str::FromStr};

/// How many links a brand can have.
const LINKS_MAX: usize = 8;
/// The longest name, label or address, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// The largest logo, in bytes.
const LOGO_BYTES_MAX: usize = 64 * 1024;

/// The contrast that text must have with what is behind it: WCAG 2.2, criterion 1.4.3, asks for 4.5.
const CONTRAST_MIN: f64 = 4.6;
/// In the dark an accent at the bare minimum looks dull.
const CONTRAST_DARK_MIN: f64 = 5.8;

/// Whose pages these are. Every part was checked, so a page can show it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    pub(super) name: String,
    pub(super) logo: Option<String>,
    pub(super) accent: Colour,
    pub(super) links: Vec<Link>,
}

/// A link in the footer, such as a privacy policy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it says.
    pub label: String,
    /// An `https:`, `http:` or `mailto:` address.
    pub url: String,
}

/// Why a brand is not taken, said to the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBrand {
    /// The name is empty, too long, or has control characters.
    #[error("a brand's name is 1 to 512 bytes without control characters")]
    Name,
    /// The logo is no SVG, or too large.
    #[error("a brand's logo is an SVG file of at most 64 KiB that begins with `<svg` or `<?xml`")]
    Logo,
    /// A link cannot be shown.
    #[error("link {0:?}: a label, and an address that begins with https://, http:// or mailto:")]
    Link(String),
    /// There are too many links.
    #[error("a brand has at most 8 links")]
    Links,
}

impl Brand {
    /// The name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A brand. Without a `logo` (the text of an SVG file) it bears the mark of Symbolon, in its own accent.
    ///
    /// # Errors
    /// [`InvalidBrand`] names the part and the rule.
    pub fn new(
        name: &str,
        logo: Option<String>,
        accent: Colour,
        links: Vec<Link>,
    ) -> Result<Self, InvalidBrand> {
        let printable = |text: &str| {
            !text.trim().is_empty()
                && text.len() <= TEXT_BYTES_MAX
                && !text.contains(char::is_control)
        };
        let is_svg = |svg: &str| {
            svg.len() <= LOGO_BYTES_MAX
                && (svg.trim_start().starts_with("<svg") || svg.trim_start().starts_with("<?xml"))
        };
        let leads = |link: &Link| {
            printable(&link.label)
                && printable(&link.url)
                && ["https://", "http://", "mailto:"].iter().any(|way| link.url.starts_with(way))
        };
        if !printable(name) {
            return Err(InvalidBrand::Name);
        }
        if logo.as_deref().is_some_and(|svg| !is_svg(svg)) {
            return Err(InvalidBrand::Logo);
        }
        if links.len() > LINKS_MAX {
            return Err(InvalidBrand::Links);
        }
        match links.iter().find(|link| !leads(link)) {
            Some(bad) => Err(InvalidBrand::Link(bad.label.clone())),
            None => Ok(Self { name: name.to_owned(), logo, accent, links }),
        }
    }
}

impl Default for Brand {
    fn default() -> Self {
        Self { name: "Symbolon".to_owned(), logo: None, accent: Colour::VERDIGRIS, links: vec![] }
    }
}

/// A colour of sRGB, written `#rrggbb` or `#rgb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// The text is no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is #rrggbb or #rgb, in hexadecimal digits")]
pub struct InvalidColour;

impl FromStr for Colour {
    type Err = InvalidColour;

    fn from_str(text: &str) -> Result<Self, InvalidColour> {
        let digits = text.strip_prefix('#').ok_or(InvalidColour)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidColour);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| InvalidColour)?;
        let [_, r, g, b] = number.to_be_bytes();
        match digits.len() {
            6 => Ok(Self([r, g, b])),
            3 => Ok(Self([g % 16 * 17, b / 16 * 17, b % 16 * 17])),
            _ => Err(InvalidColour),
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl<'de> serde::Deserialize<'de> for Colour {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Colour {
    /// The green of old bronze: Symbolon's own accent.
    pub const VERDIGRIS: Self = Self([0x0e, 0x6b, 0x5c]);
    const BLACK: Self = Self([0; 3]);
    const WHITE: Self = Self([0xff; 3]);
    /// The ground of the light pages; `--ground` in `symbolon.css`.
    const LIGHT_GROUND: Self = Self([0xf4, 0xf5, 0xf3]);
    /// The lightest ground on which the dark pages set text; `--surface` in `symbolon.css`.
    const DARK_SURFACE: Self = Self([0x1a, 0x20, 0x1e]);

    /// This colour, darkened just so far that it can be read on the light pages.
    fn on_light(self) -> Self {
        let legible = |colour: &Self| colour.contrast(Self::LIGHT_GROUND) >= CONTRAST_MIN;
        self.toward(Self::BLACK).find(legible).unwrap_or(Self::BLACK)
    }

    /// This colour, brightened just so far that it can be read on the dark pages: as long as it can keep its hue and
    /// saturation it does, then it goes toward white.
    fn on_dark(self) -> Self {
        let legible = |colour: &Self| colour.contrast(Self::DARK_SURFACE) >= CONTRAST_DARK_MIN;
        let brightest = self.brightest();
        let mut path = self.toward(brightest).chain(brightest.toward(Self::WHITE));
        path.find(legible).unwrap_or(Self::WHITE)
    }

    /// The way to another colour in even steps, both included.
    fn toward(self, end: Self) -> impl Iterator<Item = Self> {
        (0..=64).map(move |parts| self.mixed(end, parts))
    }

    /// All channels raised in proportion until the greatest is full.
    fn brightest(self) -> Self {
        let greatest = u16::from(self.0.into_iter().max().unwrap_or(0).max(1));
        Self(self.0.map(|it| u8::try_from(u16::from(it) * 255 / greatest).unwrap_or(u8::MAX)))
    }

    /// `parts` of 64 of the other colour.
    fn mixed(self, other: Self, parts: u16) -> Self {
        let mix = |a: u8, b: u8| {
            let sum = u16::from(a) * (64 - parts) + u16::from(b) * parts;
            u8::try_from(sum / 64).unwrap_or(u8::MAX)
        };
        let ([r, g, b], [x, y, z]) = (self.0, other.0);
        Self([mix(r, x), mix(g, y), mix(b, z)])
    }

    /// The contrast ratio of WCAG 2.2: 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The relative luminance of WCAG 2.2.
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        let [r, g, b] = self.0.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

/// The brand's own style sheet: its accent as light and dark pages need it. Text on the accent is white in the light,
/// and the dark ground in the dark, which the accent was chosen to stand out from.
pub(super) fn stylesheet(brand: &Brand) -> String {
    let (light, dark) = (brand.accent.on_light(), brand.accent.on_dark());
    format!(
        ":root{{--accent:{light}}}\n@media (prefers-color-scheme:dark){{:root{{--accent:{dark}}}}}\n"
    )
}

/// The icon of the browser's tab: the brand's logo, or the mark in its accent.
pub(super) fn icon(brand: &Brand) -> String {
    let mark =
        || include_str!("../../assets/mark.svg").replace("currentColor", &brand.accent.to_string());
    brand.logo.clone().unwrap_or_else(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accent_can_be_read_in_both_themes() {
        let steps = (0..=255).step_by(51);
        for r in steps.clone() {
            for g in steps.clone() {
                for b in steps.clone() {
                    let accent = Colour([r, g, b]);
                    assert!(accent.on_light().contrast(Colour::LIGHT_GROUND) >= 4.5, "{accent}");
                    assert!(accent.on_light().contrast(Colour::WHITE) >= 4.5, "{accent}");
                    assert!(accent.on_dark().contrast(Colour::DARK_SURFACE) >= 4.5, "{accent}");
                }
            }
        }
        assert_eq!(Colour::VERDIGRIS.on_light(), Colour::VERDIGRIS);
    }

    #[test]
    fn the_style_sheet_has_the_grounds_that_contrast_is_counted_from() {
        let css = include_str!("../../assets/symbolon.css");
        assert!(css.contains(&format!("--ground: {};", Colour::LIGHT_GROUND)));
        assert!(css.contains(&format!("--surface: {};", Colour::DARK_SURFACE)));
    }

    #[test]
    fn colours_are_hexadecimal_and_nothing_else() {
        assert_eq!("#0e6B5c".parse(), Ok(Colour::VERDIGRIS));
        assert_eq!("#f80".parse::<Colour>().map(|c| c.to_string()), Ok("#ff8800".to_owned()));
        for bad in ["", "#", "red", "0e6b5c", "#0e6b5", "#0e6b5c00", "#+12", "#ff}", "#가", "#fff;"]
        {
            assert_eq!(bad.parse::<Colour>(), Err(InvalidColour), "{bad}");
        }
    }

    #[test]
    fn brands_show_only_what_is_safe() {
        let brand = |name: &str, logo: Option<&str>, url: &str, links: usize| {
            let link = Link { label: "Terms".to_owned(), url: url.to_owned() };
            let logo = logo.map(str::to_owned);
            Brand::new(name, logo, Colour::VERDIGRIS, vec![link; links]).map(|_| ())
        };
        let bad_link = Err(InvalidBrand::Link("Terms".to_owned()));
        let svg = Some("<svg xmlns='http://www.w3.org/2000/svg'/>");
        assert_eq!(brand("Shop", svg, "https://shop.example/terms", 8), Ok(()));
        assert_eq!(brand("Shop", None, "mailto:help@shop.example", 1), Ok(()));
        assert_eq!(brand("Shop", None, "javascript:alert(1)", 1), bad_link);
        assert_eq!(brand("Shop", None, "//shop.example", 1), bad_link);
        assert_eq!(brand("Shop", None, "https://a\nb", 1), bad_link);
        assert_eq!(brand("Shop", None, "https://shop.example", 9), Err(InvalidBrand::Links));
        assert_eq!(brand(" ", None, "https://shop.example", 1), Err(InvalidBrand::Name));
        assert_eq!(brand("Shop", Some("<html>"), "https://a", 1), Err(InvalidBrand::Logo));
        let large = format!("<svg>{}", " ".repeat(LOGO_BYTES_MAX));
        assert_eq!(brand("Shop", Some(&large), "https://a", 1), Err(InvalidBrand::Logo));
    }
}
