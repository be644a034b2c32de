//! Tables for a terminal: a rule below the head and one at the end, no frame.
//!
//! Owns the one look of them. What stands in them is the renderers'.

use std::ops::Range;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};

/// An empty table with this head.
fn ruled<H: Into<String>>(head: impl IntoIterator<Item = H>) -> Table {
    let rule = || LineStyle::new('─', '─', '─', '─');
    let mut table = Table::new();
    table
        .load_style(
            TableStyle::new()
                .header_separator(rule())
                .bottom_border(rule()),
        )
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head.into_iter().map(Into::into).collect::<Vec<String>>());
    table
}

fn filled(
    mut table: Table,
    rows: impl IntoIterator<Item = Vec<String>>,
    right: Range<usize>,
) -> String {
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// As wide as its cells; the columns in `right` hold numbers.
pub(super) fn render<H: Into<String>>(
    head: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = Vec<String>>,
    right: Range<usize>,
) -> String {
    filled(ruled(head), rows, right)
}

/// At most `width` characters wide, wrapping cells but for the labels in the first column.
pub(super) fn render_within<H: Into<String>>(
    width: u16,
    head: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = Vec<String>>,
    right: Range<usize>,
) -> String {
    let mut table = ruled(head);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    if let Some(labels) = table.column_mut(0) {
        labels.set_constraint(ColumnConstraint::ContentWidth);
    }
    filled(table, rows, right)
}
