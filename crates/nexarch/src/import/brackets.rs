//! Where a JSON value ends, without reading it.

/// How many brackets are open, outside of strings.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    pub(super) depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// Inside of so many brackets.
    pub(super) fn inside(depth: u32) -> Self {
        Self { depth, ..Self::default() }
    }

    /// Goes through all bytes.
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// Goes through bytes until no bracket is open; says how many that were.
    pub(super) fn follow_to_end(&mut self, bytes: &[u8]) -> usize {
        for (nth, byte) in bytes.iter().enumerate() {
            self.step(*byte);
            if self.depth == 0 {
                return nth + 1;
            }
        }
        bytes.len()
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}
