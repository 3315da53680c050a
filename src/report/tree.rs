//! Trees drawn with lines.

/// One line of a tree before it is drawn: its depth (0 = a root) and its text.
#[derive(Clone, Debug)]
pub struct Node {
    /// Steps below a root.
    pub depth: usize,
    /// What stands there.
    pub text: String,
}

/// Draws nodes given in depth-first order.
///
/// ```text
/// a
/// ├─ b
/// │  └─ c
/// └─ d
/// ```
pub fn draw(nodes: &[Node]) -> Vec<String> {
    // From the end: `open[d]` says whether a later node stands at depth d under the same parent.
    let mut open: Vec<bool> = Vec::new();
    let mut lines: Vec<String> = nodes
        .iter()
        .rev()
        .map(|node| {
            open.resize(node.depth + 1, false);
            let mut line = String::new();
            for (depth, more) in open.iter().enumerate().skip(1) {
                line.push_str(match (depth == node.depth, *more) {
                    (true, true) => "├─ ",
                    (true, false) => "└─ ",
                    (false, true) => "│  ",
                    (false, false) => "   ",
                });
            }
            open[node.depth] = true;
            line + &node.text
        })
        .collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_join_their_parents() {
        let at = |depth, text: &str| Node { depth, text: text.into() };
        let nodes = [at(0, "a"), at(1, "b"), at(2, "c"), at(2, "d"), at(1, "e"), at(2, "f")];
        let want = ["a", "├─ b", "│  ├─ c", "│  └─ d", "└─ e", "   └─ f"];
        assert_eq!(draw(&nodes), want);
    }
}
