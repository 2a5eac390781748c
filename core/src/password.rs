//! Passwords: their one Unicode form, and which of them are refused (NIST SP 800-63B-4, section 3.1.1).
//!
//! What counts is length and that an attacker would not try it early. There are no composition rules and nothing ever
//! expires. NIST compares whole passwords with a list; here a password that merely contains something common is refused,
//! too, when nearly nothing is left without it: when fewer than [`UNFORESEEN_MIN`] of its characters remain after setting
//! aside what can be foreseen, each counted as one character or as none:
//!
//! * a common password or word, alone or with digits and signs around it (`Password2024!`);
//! * a repetition (`hello12hello12hello12`);
//! * a run along the alphabet, the digits or the keyboard, also interleaved (`abcdefgh`, `qwertyuiop`, `1q2w3e4r5t`);
//! * a name: the user's, the service's, and their parts.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::secret::SecretText;

/// The longest password that is looked at, in bytes as sent.
pub const BYTES_MAX: usize = 1024;

/// How many characters of a password must not be foreseeable: NIST's absolute least length, without the padding.
pub const UNFORESEEN_MIN: usize = 8;

/// The shortest password by default, in characters: what NIST SP 800-63B-4 asks of a password that stands alone.
pub const LENGTH_MIN_DEFAULT: usize = 15;

/// Names shorter than this many characters are in too many words to be looked for.
const NAME_MIN: usize = 3;

/// What somebody typed as a password, in the one form that is hashed.
///
/// That form is RFC 8265's *OpaqueString*: every kind of space is a plain space, and the text is in Unicode form NFC, so
/// that `한` is the same from a keyboard that sends it in parts. Case and width are kept.
///
/// ```
/// use symbolon_core::{password::Password, secret::SecretText};
/// let parse = |text: &str| Password::parse(&SecretText::new(text.to_owned()));
/// assert_eq!(parse("\u{1112}\u{1161}\u{11ab}"), parse("한"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(SecretText);

impl Password {
    /// Takes what was typed.
    ///
    /// # Errors
    /// [`Refused::TooShort`] for an empty text, [`Refused::TooLong`] over [`BYTES_MAX`]. Both can be told to anybody:
    /// they depend on nothing that is stored.
    pub fn parse(typed: &SecretText) -> Result<Self, Refused> {
        let typed = typed.expose();
        if typed.is_empty() {
            return Err(Refused::TooShort { min: 1 });
        }
        if typed.len() > BYTES_MAX {
            return Err(Refused::TooLong { max: BYTES_MAX });
        }
        // NFC makes UTF-8 at most three times longer. A text that never grows leaves no copies behind.
        let mut text = String::with_capacity(typed.len() * 3);
        text.extend(typed.chars().map(plain_space).nfc());
        Ok(Self(SecretText::new(text)))
    }

    /// The password in clear, for the hash. Every caller is a place to look at in a review.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// RFC 8265, section 4.2.2, rule 2: any space separator (Unicode category Zs) is U+0020.
const fn plain_space(c: char) -> char {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            ' '
        }
        other => other,
    }
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Fewer characters than the policy asks for.
    #[error("the password needs at least {min} characters")]
    TooShort {
        /// The least number of characters (Unicode code points).
        min: usize,
    },
    /// More bytes than anybody types.
    #[error("the password is longer than {max} bytes")]
    TooLong {
        /// The greatest number of bytes in UTF-8.
        max: usize,
    },
    /// It is, or is made of, what attackers try first.
    #[error("the password is among those that attackers try first")]
    Common,
    /// It is little more than the name of the user or of the service.
    #[error("the password is little more than a name")]
    ContainsName,
}

impl Refused {
    /// The stable code of this reason in answers and translations.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too-short",
            Self::TooLong { .. } => "too-long",
            Self::Common => "common",
            Self::ContainsName => "contains-name",
        }
    }
}

/// What a new password must be. Old ones are never measured by it.
///
/// ```
/// use symbolon_core::{password::{Password, Policy, Refused}, secret::SecretText};
/// let check = |text: &str| {
///     let password = Password::parse(&SecretText::new(text.to_owned()))?;
///     Policy::default().check(&password, &["user@example.com", "Symbolon"])
/// };
/// assert_eq!(check("tea with the old lighthouse"), Ok(()));
/// assert_eq!(check("short"), Err(Refused::TooShort { min: 15 }));
/// assert_eq!(check("Password12345678!"), Err(Refused::Common));
/// assert_eq!(check("symbolon@example.com"), Err(Refused::ContainsName));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The least number of characters (Unicode code points).
    pub length_min: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { length_min: LENGTH_MIN_DEFAULT }
    }
}

impl Policy {
    /// Whether a new password is taken. `names` are the login name and whatever names the service has.
    pub fn check(&self, password: &Password, names: &[&str]) -> Result<(), Refused> {
        let text = password.expose();
        if text.chars().count() < self.length_min {
            return Err(Refused::TooShort { min: self.length_min });
        }
        let text = fold(text);
        if unforeseen(&text) < UNFORESEEN_MIN {
            return Err(Refused::Common);
        }
        let mut rest = text;
        for name in names {
            let name = fold(name);
            rest = without(&rest, &name);
            for part in name.split(|c| !c.is_alphanumeric()) {
                rest = without(&rest, part);
            }
        }
        if unforeseen(&rest) < UNFORESEEN_MIN { Err(Refused::ContainsName) } else { Ok(()) }
    }
}

/// Text that is wiped when it is dropped.
type Letters = Zeroizing<Vec<char>>;

/// The form in which texts are compared: compatible forms (full width, …) and case made equal. It has room for what one
/// character can grow to, so that it never moves.
fn fold(text: &str) -> Letters {
    let growth = if text.is_ascii() { 1 } else { 18 };
    let mut folded = Vec::with_capacity(text.len() * growth);
    folded.extend(text.nfkc().flat_map(char::to_lowercase));
    Zeroizing::new(folded)
}

/// `text` with one sign that is no letter in place of each `name`.
fn without(text: &[char], name: &[char]) -> Letters {
    let mut rest = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(letter) = text.get(at) {
        if name.len() >= NAME_MIN && text[at..].starts_with(name) {
            rest.push('\0');
            at += name.len();
        } else {
            rest.push(*letter);
            at += 1;
        }
    }
    Zeroizing::new(rest)
}

/// How many characters an attacker who tries the obvious first would have to guess.
fn unforeseen(text: &[char]) -> usize {
    let text = once(text);
    if is_common(text) {
        return 1;
    }
    let letter = |c: &char| c.is_alphabetic();
    let (Some(first), Some(last)) = (text.iter().position(letter), text.iter().rposition(letter))
    else {
        return surprises(text);
    };
    if is_common(&text[first..=last]) {
        return 1 + surprises(&text[..first]) + surprises(&text[last + 1..]);
    }
    surprises(text)
}

/// The shortest text of which `text` is a repetition; the last time may be cut short.
fn once(text: &[char]) -> &[char] {
    let period = (1..=text.len() / 2).find(|&n| text[n..].iter().eq(&text[..text.len() - n]));
    &text[..period.unwrap_or(text.len())]
}

/// A linear look through some 70 kB: microseconds, beside a hash of milliseconds.
fn is_common(text: &[char]) -> bool {
    const LIST: &str = include_str!("../data/common-passwords.txt");
    LIST.lines().any(|line| line.chars().eq(text.iter().copied()))
}

/// How many characters do not continue a run. Runs may be interleaved: `1q2w3e` is `123` and `qwe`.
fn surprises(text: &[char]) -> usize {
    let continues = |at: usize| {
        (1..=4).any(|lag| {
            at >= 2 * lag
                && same_step(
                    &steps(text[at - 2 * lag], text[at - lag]),
                    &steps(text[at - lag], text[at]),
                )
        })
    };
    (0..text.len()).filter(|&at| !continues(at)).count()
}

/// The step between two characters in the alphabet, along a row, and along a column of the keyboard: -1, 0 or 1.
type Steps = [Option<isize>; 3];

fn same_step(one: &Steps, other: &Steps) -> bool {
    one.iter().zip(other).any(|(a, b)| a.is_some() && a == b)
}

fn steps(from: char, to: char) -> Steps {
    const ROWS: [&str; 5] =
        ["1234567890-=", "!@#$%^&*()_+", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"];
    const COLUMNS: [&str; 10] =
        ["1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/"];
    let alphabet = (to as isize) - (from as isize);
    let along = |lines: &[&str]| {
        lines.iter().find_map(|line| {
            let step = line.find(to)?.cast_signed() - line.find(from)?.cast_signed();
            (-1..=1).contains(&step).then_some(step)
        })
    };
    [(-1..=1).contains(&alphabet).then_some(alphabet), along(&ROWS), along(&COLUMNS)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Password, Refused> {
        Password::parse(&SecretText::new(text.to_owned()))
    }

    #[track_caller]
    fn check(length_min: usize, text: &str, expected: Result<(), Refused>) {
        let names = ["Honggildong@example.com", "Symbolon", "강남상점", "ab"];
        let found = parse(text).and_then(|password| Policy { length_min }.check(&password, &names));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn length_is_counted_in_characters() {
        check(8, "", Err(Refused::TooShort { min: 1 }));
        check(8, "x7!kq2m", Err(Refused::TooShort { min: 8 }));
        check(8, "x7!kq2mw", Ok(()));
        check(8, "바다위의등대불빛", Ok(()));
        check(8, "바다위등대불빛", Err(Refused::TooShort { min: 8 }));
        // Parts of syllables count as the syllables they make.
        check(8, "\u{1112}\u{1161}\u{11ab}x7!kq2", Err(Refused::TooShort { min: 8 }));
        check(15, "x7!kq2mw", Err(Refused::TooShort { min: 15 }));
        check(8, &"tea with the old lighthouse ".repeat(36), Ok(()));
        check(8, &"é".repeat(513), Err(Refused::TooLong { max: 1024 }));
    }

    #[test]
    fn what_attackers_try_first_is_refused() {
        for text in [
            "password",
            "Password1!",
            "PASSWORD2024",
            "Ｐａｓｓｗｏｒｄ１２３",
            "123password123",
            "qwer1234",
            "qwer1234!",
            "tkfkdgo1234",
            "안녕하세요123",
            "비밀번호1234!",
            "qlalfqjsgh1!",
            "12345678",
            "876543210",
            "aaaaaaaaaaaaaaaa",
            "abcdefghijklmnop",
            "zyxwvutsrq",
            "qwertyuiopasdfgh",
            "asdfghjkl;'",
            "1q2w3e4r5t6y7u8i",
            "1qaz2wsx3edc4rfv",
            "!@#$%^&*()",
            "abcabcabcabcabcabc",
            "passwordpassword",
            "hello12hello12hello12",
            "11223344556677",
            "letmein!!!!!!!!!!!!!",
            "correcthorsebatterystaple",
        ] {
            check(8, text, Err(Refused::Common));
        }
    }

    #[test]
    fn names_are_no_passwords() {
        for text in [
            "honggildong123",
            "HongGildong!2026",
            "example.honggildong",
            "symbolon-symbolon-1",
            "ｓｙｍｂｏｌｏｎ!9x",
            "강남상점강남1004",
            "honggildong@example.com",
        ] {
            check(8, text, Err(Refused::ContainsName));
        }
        // A name inside enough of other things does no harm, and two letters are no name.
        check(8, "symbolon under a green moon", Ok(()));
        check(8, "abxk7!mqw", Ok(()));
    }

    #[test]
    fn good_ones_are_taken_whatever_they_are_made_of() {
        for text in [
            "tea with the old lighthouse",
            "839201748392613",
            "dkf!93kdqLsW",
            "한강에서 자전거를 탔다",
            "κρυφό μονοπάτι",
            "🦊🌵🎷🧊🍋🪁🛶🧭",
            "      leading spaces count, too",
            "with\ttab and \u{0} nul",
        ] {
            check(8, text, Ok(()));
        }
    }

    #[test]
    fn one_form_for_every_keyboard() {
        assert_eq!(parse("caf\u{e9}"), parse("cafe\u{301}"));
        assert_eq!(parse("a\u{3000}b\u{a0}c"), parse("a b c"));
        assert_ne!(parse("Ａ"), parse("A"));
        assert_ne!(parse("a"), parse("A"));
        assert_ne!(parse("a "), parse("a"));
        assert_eq!(format!("{:?}", parse("secret")), "Ok(Password(…))");
    }

    #[test]
    fn the_list_is_in_the_form_it_is_compared_in() {
        let lines: Vec<&str> = include_str!("../data/common-passwords.txt").lines().collect();
        assert!(lines.len() > 5000 && lines.is_sorted());
        for line in lines {
            assert!(line.chars().eq(fold(line).iter().copied()), "{line}");
            assert!(line.chars().count() >= 2, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,400}", name in "\\PC{0,40}") {
            if let Ok(password) = parse(&text) {
                let _ = Policy { length_min: 8 }.check(&password, &[&name]);
                let again = parse(password.expose());
                if password.expose().len() <= BYTES_MAX {
                    prop_assert_eq!(again, Ok(password));
                }
            }
        }

        #[test]
        fn random_ones_are_taken(text in "[!-~]{16}") {
            prop_assert!(unforeseen(&fold(&text)) >= UNFORESEEN_MIN);
        }
    }
}
