//! Aligned columns.

/// Blanks between columns.
pub(super) const GAP: usize = 3;

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with a heading; as wide as its widest cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    columns: Vec<(Align, Vec<String>)>,
}

impl Columns {
    /// Adds a column on the right.
    pub(super) fn add(&mut self, heading: &str, align: Align, cells: impl IntoIterator<Item = String>) {
        let cells = std::iter::once(heading.to_owned()).chain(cells).collect();
        self.columns.push((align, cells));
    }

    /// Characters of the longest line.
    pub(super) fn width(&self) -> usize {
        self.widths().iter().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
    }

    fn widths(&self) -> Vec<usize> {
        let width = |cells: &Vec<String>| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        self.columns.iter().map(|(_, cells)| width(cells)).collect()
    }

    /// The lines, the heading first, without trailing blanks.
    pub(super) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let rows = self.columns.first().map_or(0, |(_, cells)| cells.len());
        (0..rows).map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: usize, widths: &[usize]) -> String {
        let mut line = String::new();
        for ((align, cells), width) in self.columns.iter().zip(widths) {
            let cell = cells.get(row).map_or("", String::as_str);
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line += &(cell.to_owned() + &blanks),
                Align::Right => line += &(blanks + cell),
            }
            line += &" ".repeat(GAP);
        }
        line.trim_end().to_owned()
    }
}
