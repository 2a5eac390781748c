//! The shop as browsers and programs see it.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod shop;
