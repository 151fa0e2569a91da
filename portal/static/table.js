// Sorts the rows of a preview and filters what has a filter field. Without this script, pages show everything, in the order of the table.
"use strict";
const language = document.documentElement.lang;
const collator = new Intl.Collator(language, { numeric: true, sensitivity: "base" });
const folded = (text) => text.toLocaleLowerCase(language).normalize("NFD").replace(/\p{M}/gu, "");

// A field that shows only the items with all of its words: rows of a table, or entries of lists.
for (const tools of document.querySelectorAll("[data-filters]")) {
  const input = tools.querySelector("input");
  const status = tools.querySelector("[role=status]");
  const items = [...document.querySelectorAll(tools.dataset.filters)];
  const texts = items.map((item) => folded(item.textContent));
  const groups = [...document.querySelectorAll(tools.dataset.groups || "none")];
  const number = new Intl.NumberFormat(language === "en" ? "en-GB" : language, { useGrouping: "always" });
  tools.hidden = false;
  let waiting;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const words = folded(input.value).split(/\s+/).filter(Boolean);
      let shown = 0;
      items.forEach((item, at) => {
        item.hidden = !words.every((word) => texts[at].includes(word));
        shown += item.hidden ? 0 : 1;
      });
      for (const group of groups) group.hidden = ![...group.querySelectorAll(tools.dataset.filters)].some((item) => !item.hidden);
      status.textContent = tools.dataset.shown.replace("{shown}", number.format(shown)).replace("{all}", number.format(items.length));
    }, 150);
  });
}

// Each heading of a sortable table becomes a button. Values are compared as numbers or days (data-value), or else as text; unknown ones are last.
for (const table of document.querySelectorAll("table[data-sorts]")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turned = head.getAttribute("aria-sort") === "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", turned ? "descending" : "ascending");
      const isText = head.dataset.kind === "text";
      const key = (row) => {
        const { value } = row.cells[column].dataset;
        if (value === "") return null;
        return isText ? row.cells[column].textContent : head.dataset.kind === "number" ? Number(value) : value;
      };
      const compare = (a, b) => (isText ? collator.compare(a, b) : a < b ? -1 : a > b ? 1 : 0);
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : turned ? compare(b, a) : compare(a, b)));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
