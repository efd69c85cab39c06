//! What somebody probably meant who wrote something else.

/// Of several names, the one that the written one is probably a slip of.
pub(super) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = folded(written);
    let slips_max = (written.len() / 4).clamp(1, 2);
    names
        .map(|name| (slips(&written, &folded(name)), name))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// Without case and separators: `ping_period` and `pingperiod` are the same slip of `pingPeriod`.
fn folded(name: &str) -> Vec<char> {
    // Names are short. What is much longer is a slip of none of them, and comparing it would be costly.
    let letters = name.chars().filter(|c| c.is_alphanumeric()).take(64);
    letters.flat_map(char::to_lowercase).collect()
}

/// The fewest letters to add, drop, change or swap with a neighbour.
fn slips(one: &[char], other: &[char]) -> usize {
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&last, j) + usize::from(a != b);
            let mut fewest = changed.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let is_swap =
                j > 0 && i > 0 && other.get(j - 1) == Some(a) && one.get(i - 1) == Some(b);
            if is_swap {
                fewest = fewest.min(at(&before_last, j - 1) + 1);
            }
            row.push(fewest);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let names = ["pingPeriod", "pongWait", "path", "limits"];
        let check =
            |written, meant| assert_eq!(nearest(written, names.into_iter()), meant, "{written}");
        check("ping_period", Some("pingPeriod"));
        check("pingPreiod", Some("pingPeriod"));
        check("limit", Some("limits"));
        check("pth", Some("path"));
        check("replicas", None);
        // Two slips from `Nobody`, and the opposite of it.
        assert_eq!(nearest("Anybody", ["Nobody"].into_iter()), None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }
}
