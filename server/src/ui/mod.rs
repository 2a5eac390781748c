//! The pages: templates, words, marks.
