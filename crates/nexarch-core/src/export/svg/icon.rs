//! One icon per type, 20 × 20, centred at (24, 26) of a card. Shape tells the type, so colour need not.

use crate::graph::NodeType;

/// The icon of a type, with the group that places it.
pub(super) fn of(kind: NodeType) -> &'static str {
    match kind {
        NodeType::Service => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M10 1 18 5.5V14.5L10 19 2 14.5V5.5ZM2 5.5 10 10 18 \
             5.5M10 10V19\"/>"
        }
        NodeType::Database => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M2.5 4.5C2.5 1 17.5 1 17.5 4.5V15.5C17.5 19 2.5 19 \
             2.5 15.5ZM2.5 4.5C2.5 8 17.5 8 17.5 4.5M2.5 10C2.5 13.5 17.5 13.5 17.5 10\"/>"
        }
        NodeType::Cache => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M11 1 3.5 11.5H9L8 19 16.5 8H10.5Z\"/>"
        }
        NodeType::Queue => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M1 5H12V15H1ZM4.7 5V15M8.4 5V15M14 10H19M16.5 7 19 \
             10 16.5 13\"/>"
        }
        NodeType::External => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M10 1.5A8.5 8.5 0 1 1 10 18.5A8.5 8.5 0 1 1 10 \
             1.5ZM1.5 10H18.5M10 1.5C4.5 7 4.5 13 10 18.5M10 1.5C15.5 7 15.5 13 10 18.5\"/>"
        }
        NodeType::User => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M10 2A4 4 0 1 1 10 10A4 4 0 1 1 10 2ZM2.5 18.5C2.5 \
             11 17.5 11 17.5 18.5\"/>"
        }
        NodeType::Model => {
            "<path class=\"icon\" transform=\"translate(14 16)\" d=\"M8 2C8.6 7.4 9.6 8.4 15 9 9.6 9.6 8.6 10.6 8 16 7.4 \
             10.6 6.4 9.6 1 9 6.4 8.4 7.4 7.4 8 2ZM15.5 12.5C15.8 15 16.5 15.7 19 16 16.5 16.3 15.8 17 15.5 19.5 15.2 \
             17 14.5 16.3 12 16 14.5 15.7 15.2 15 15.5 12.5Z\"/>"
        }
    }
}
