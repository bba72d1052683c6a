//! How long a text can be that a part of an expression matches.

use super::Node;

/// Whether it can match more than the empty text.
pub(super) fn has_width(node: &Node) -> bool {
    lengths(node).1 != Some(0)
}

/// The shortest and the longest text that a part matches, in bytes; `None`: without end, or not known.
pub fn lengths(node: &Node) -> (usize, Option<usize>) {
    match node {
        Node::Empty | Node::Assert(_) | Node::Look { .. } | Node::Keep => (0, Some(0)),
        Node::Bytes(bytes) => (bytes.len(), Some(bytes.len())),
        Node::Set(_) => (1, Some(1)),
        Node::Capture { node, .. } | Node::Atomic(node) => lengths(node),
        Node::Concat(nodes) => nodes.iter().map(lengths).fold((0, Some(0)), |(low, high), (least, most)| {
            (low + least, high.zip(most).map(|(high, most)| high.saturating_add(most)))
        }),
        Node::Alt(nodes) | Node::BranchReset(nodes) => widest(nodes.iter().map(lengths)),
        Node::Conditional(condition) => widest([lengths(&condition.yes), lengths(&condition.no)].into_iter()),
        Node::Repeat { node, min, max, .. } => {
            let (least, most) = lengths(node);
            let most = match (most, max) {
                (Some(0), _) => Some(0),
                (Some(most), Some(max)) => Some(most.saturating_mul(*max as usize)),
                _ => None,
            };
            (least.saturating_mul(*min as usize), most)
        }
        Node::Backref(..) => (0, None),
        Node::Verbatim(text) if text.starts_with("(*") => (0, Some(0)),
        Node::Verbatim(_) => (0, None),
    }
}

fn widest(all: impl Iterator<Item = (usize, Option<usize>)>) -> (usize, Option<usize>) {
    all.reduce(|(low, high), (least, most)| {
        (low.min(least), high.zip(most).map(|(high, most)| high.max(most)))
    })
    .unwrap_or((0, Some(0)))
}
