//! The architecture map for other tools and for paper.

pub mod svg;
