//! Coupling (Martin, 1994): who depends on whom, and whether the stable ones lean on the unstable.

use super::Net;

/// Callers and callees of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coupling {
    /// Afferent: distinct callers.
    pub callers: usize,
    /// Efferent: distinct callees.
    pub callees: usize,
    /// `Ce/(Ca+Ce)`: 0 is stable (others depend on it alone), 1 unstable; `None` without neighbours.
    pub instability: Option<f64>,
}

impl Coupling {
    /// Of one node.
    pub fn of(net: &Net, node: usize) -> Self {
        let (inward, outward) = (net.callers(node).len(), net.callees(node).len());
        let all = inward + outward;
        Self {
            callers: inward,
            callees: outward,
            instability: (all > 0).then(|| outward as f64 / all as f64),
        }
    }

    /// Is it less stable than another? Compared as fractions, so that equal ones are equal.
    fn is_less_stable_than(self, other: Self) -> bool {
        let cross = |a: Self, b: Self| a.callees * (b.callers + b.callees);
        cross(self, other) > cross(other, self)
    }
}

/// Edges a → b where b is less stable than a: against the stable-dependencies rule. In order.
///
/// ```
/// use nexarch_core::analysis::structure::{Net, against_stability};
/// // 1 is called by two and calls one (I = 1/3), which calls two itself (I = 2/3).
/// let net = Net::new(6, [(0, 1, 1), (5, 1, 1), (1, 2, 1), (2, 3, 1), (2, 4, 1)]);
/// assert_eq!(against_stability(&net), [(1, 2)]);
/// ```
pub fn against_stability(net: &Net) -> Vec<(usize, usize)> {
    let of: Vec<Coupling> = (0..net.len()).map(|node| Coupling::of(net, node)).collect();
    net.edges().filter(|&(a, b, _)| of[b].is_less_stable_than(of[a])).map(|(a, b, _)| (a, b)).collect()
}
