//! An error and what caused it, on one line.

use std::error::Error;

use crate::shown;

/// The error's text and those of its sources, without saying the same twice; each as [`shown()`] cuts and escapes it,
/// since an error may quote what a peer sent.
pub fn causes(error: &dyn Error) -> String {
    let mut text = shown(error);
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = shown(inner);
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
