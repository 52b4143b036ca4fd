//! Every rule on hand-made traces; the expected answers are derived from the words of the rule.

mod calls;
mod genai;
mod hostile;
mod linker;
mod links;
mod messages;
mod outs;
mod properties;
mod size;
mod skew;
