// Tables: a header is a button that sorts by what its table shows; a second press turns the order, a third restores it.

function sortKey(row, at, change) {
  const cell = row.cells[at];
  if (at === 0) return cell.textContent.trim();
  const value = change ? cell.dataset.change : cell.dataset.ours;
  return value === undefined ? null : Number(value);
}

function compareKeys(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return typeof a === "number" ? b - a : a.localeCompare(b);
}

function sortTable(table, at, order) {
  const body = table.tBodies[0];
  const change = table.closest("article").querySelector("input[value=change]")?.checked;
  const rows = [...body.rows].sort((a, b) => Number(a.dataset.place) - Number(b.dataset.place));
  if (order) {
    rows.sort((a, b) => {
      const [x, y] = [sortKey(a, at, change), sortKey(b, at, change)];
      return x === null || y === null || order === "first" ? compareKeys(x, y) : compareKeys(y, x);
    });
  }
  body.append(...rows);
}

const ORDERS = { none: "first", first: "second", second: "none" };

function press(table, header, at) {
  const order = ORDERS[header.dataset.order || "none"];
  for (const other of table.tHead.querySelectorAll("th[data-order]")) {
    delete other.dataset.order;
    other.removeAttribute("aria-sort");
  }
  if (order !== "none") {
    header.dataset.order = order;
    const down = (order === "first") === at > 0; // numbers begin with the largest, names with the first
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  sortTable(table, at, order === "none" ? null : order);
}

for (const table of document.querySelectorAll("table.results:not(.yours)")) {
  [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
  const headers = [...table.tHead.rows].at(-1).cells;
  [...headers].forEach((header, at) => {
    const label = header.querySelector(".sortable");
    if (!label) return;
    const button = element("button", { type: "button", className: "sort", title: "sort" }, ...label.childNodes);
    button.addEventListener("click", () => press(table, header, at));
    label.replaceWith(button);
  });
  table.closest("article").querySelectorAll(".views input").forEach((input) =>
    input.addEventListener("change", () => {
      const header = table.tHead.querySelector("th[data-order]");
      if (header) sortTable(table, header.cellIndex, header.dataset.order);
    }),
  );
}
