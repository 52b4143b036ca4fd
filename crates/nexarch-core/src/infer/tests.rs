//! Every rule on hand-made traces; the expected answers are derived from the words of the rule.

mod calls;
mod outs;
mod properties;
mod size;
