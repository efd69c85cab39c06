//! The tables in which figures are printed, as Markdown.

use std::{fmt, iter, ops::Range};

/// What several rounds measured of one thing.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds what one round measured.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// What each round measured, divided by what the same round measured of another thing: both met
    /// the machine in the same mood.
    #[must_use]
    pub fn ratios_to(&self, other: &Self) -> Self {
        Self(iter::zip(&self.0, &other.0).map(|(it, other)| it / other).collect())
    }

    /// The one in the middle, if there is any.
    pub fn median(&self) -> Option<f64> {
        self.sorted().get(self.0.len() / 2).copied()
    }

    fn range(&self) -> Option<Range<f64>> {
        let sorted = self.sorted();
        Some(*sorted.first()?..*sorted.last()?)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Median, then the least and the most.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(median), Some(range)) = (self.median(), self.range()) else { return Ok(()) };
        write!(f, "{median:.2} ({:.2} to {:.2})", range.start, range.end)
    }
}

/// A figure's goal, and whether it is met.
pub fn goal(figure: Option<f64>, most: f64, what: &str) -> String {
    match figure {
        Some(figure) if figure <= most => format!("{what}: {figure:.2}, met"),
        Some(figure) => format!("{what}: {figure:.2}, NOT MET"),
        None => what.to_owned(),
    }
}

/// Rows of cells under their headings, in columns that line up.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// An empty table.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let headings: Vec<_> = headings.into_iter().map(str::to_owned).collect();
        let rule = vec!["---".to_owned(); headings.len()];
        Self(vec![headings, rule])
    }

    /// Adds a row, which has as many cells as there are headings.
    pub fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.0.iter().fold(Vec::new(), |widths: Vec<usize>, row| {
            let old = widths.into_iter().chain(iter::repeat(0));
            iter::zip(row, old).map(|(cell, old)| old.max(cell.chars().count())).collect()
        });
        for row in &self.0 {
            for (cell, width) in iter::zip(row, &widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_show_their_middle_and_their_range() {
        let figures = Figures(vec![3.0, 1.0, 2.0]);

        assert_eq!(figures.to_string(), "2.00 (1.00 to 3.00)");
        assert_eq!(
            figures.ratios_to(&Figures(vec![1.0, 2.0, 4.0])).to_string(),
            "0.50 (0.50 to 3.00)"
        );
        assert_eq!(Figures::default().to_string(), "");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["what", "x"]);
        table.row(vec!["a".to_owned(), "1.50".to_owned()]);

        assert_eq!(table.to_string(), "| what | x    |\n| ---  | ---  |\n| a    | 1.50 |\n");
    }

    #[test]
    fn a_goal_says_whether_it_is_met() {
        assert_eq!(goal(Some(1.0), 1.0, "at most 1"), "at most 1: 1.00, met");
        assert_eq!(goal(Some(1.1), 1.0, "at most 1"), "at most 1: 1.10, NOT MET");
    }
}
