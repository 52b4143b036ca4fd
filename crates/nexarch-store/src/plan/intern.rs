//! One copy of each text that facts repeat.
//!
//! Texts of a decoded request are slices of its body. Facts are remembered, and one remembered fact must not keep a
//! body of megabytes; besides, equal texts that are one text compare fast.

use std::collections::HashSet;

use nexarch_core::{Text, facts::Facts};

use crate::chunk::Seeded;

/// Most texts kept, each of at most a few hundred bytes; then it starts anew. Texts are of services and operations,
/// so this is rare.
const MAX_TEXTS: usize = 1 << 14;

/// Texts per [`Facts`].
const SLOTS: usize = 8;

/// The texts seen lately.
#[derive(Default)]
pub(crate) struct Interner {
    texts: HashSet<Text, Seeded>,
}

/// What each field held last, as it came and as it is kept: neighbours often share one text.
#[derive(Default)]
pub(crate) struct Last([(Text, Text); SLOTS]);

impl Interner {
    /// Replaces all texts of `facts` by kept ones. `last` must not outlive the batch: it holds texts as they came.
    pub(crate) fn intern(&mut self, facts: &mut Facts, last: &mut Last) {
        let Facts { name, service, namespace, environment, peer, address, protocol, target, .. } = facts;
        let fields = [name, service, namespace, environment, peer, address, protocol, target];
        for (text, (came, kept)) in fields.into_iter().zip(&mut last.0) {
            // The address first: the text in `came` is alive, so nothing else can stand there.
            let known = (came.as_ptr() == text.as_ptr() && came.len() == text.len()) || came == text;
            if !known {
                *kept = self.keep(text);
                came.clone_from(text);
            }
            text.clone_from(kept);
        }
    }

    fn keep(&mut self, text: &Text) -> Text {
        if text.is_empty() {
            return Text::new();
        }
        if let Some(kept) = self.texts.get(&**text) {
            return kept.clone();
        }
        if self.texts.len() >= MAX_TEXTS {
            self.texts.clear();
        }
        let copy = Text::from(&**text);
        self.texts.insert(copy.clone());
        copy
    }
}
