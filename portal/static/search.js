// Finding places and tables by name, without case, accents, articles and punctuation, as portal/names.py folds them.
// A field with data-filter hides what does not fit in the list of that id; one with data-index shows links from the JSON in the element of that id.
(() => {
  "use strict";
  const MOST = 12;
  const folded = (text) =>
    text.normalize("NFKD").toLowerCase().replace(/[\p{M}·]/gu, "").replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  // Every word that was typed begins a word of the name.
  const fits = (name, typed) => typed.every((word) => ` ${name}`.includes(` ${word}`));
  const words = (field) => folded(field.value).split(" ").filter(Boolean);

  function say(field, count) {
    const status = document.getElementById(`${field.id}-status`);
    const text = count ? status.dataset.some.replace("{n}", count) : status.dataset.none;
    status.textContent = words(field).length ? text : "";
  }

  function filter(field) {
    const list = document.getElementById(field.dataset.filter);
    const groups = [...list.querySelectorAll(".group")].map((group) => ({
      group,
      name: folded(group.querySelector("h2").textContent),
      items: [...group.querySelectorAll("li")].map((item) => ({ item, name: folded(item.textContent) })),
    }));
    field.addEventListener("input", () => {
      const typed = words(field);
      let count = 0;
      for (const { group, name, items } of groups) {
        const all = fits(name, typed);
        let shown = 0;
        for (const each of items) {
          const is = fits(each.name, typed);
          each.item.hidden = !(is || all);
          shown += is;
        }
        group.hidden = !(all || shown);
        count += shown + all;
      }
      for (const other of document.querySelectorAll(".no-filter")) other.hidden = typed.length > 0;
      say(field, count);
    });
  }

  function suggest(field) {
    const entries = JSON.parse(document.getElementById(field.dataset.index).textContent).map(([name, detail, address]) => ({
      name, detail, address, folded: folded(name),
    }));
    const list = document.getElementById(`${field.id}-found`);
    // All words, or else as many as possible of those that are not too short to mean something.
    function matching(typed) {
      const all = entries.filter((each) => fits(each.folded, typed));
      if (all.length) return all.map((each) => [each, typed.length]);
      const long = typed.filter((word) => word.length > 2);
      return entries.map((each) => [each, long.filter((word) => fits(each.folded, [word])).length]).filter(([, count]) => count);
    }
    field.addEventListener("input", () => {
      const typed = words(field);
      // A name that is or begins with what was typed is more likely meant.
      const likely = (each) => 2 * typed.includes(each.folded) + (each.folded === typed.join(" ")) + each.folded.startsWith(typed[0]);
      const found = (typed.length ? matching(typed) : [])
        .sort(([a, m], [b, n]) => n - m || likely(b) - likely(a))
        .map(([each]) => each);
      list.replaceChildren(...found.slice(0, MOST).map((each) => {
        const item = document.createElement("li");
        const link = document.createElement("a");
        link.href = each.address;
        link.textContent = each.name;
        item.append(link, ` ${each.detail}`);
        return item;
      }));
      say(field, found.length);
    });
    field.addEventListener("keydown", (event) => {
      const link = list.querySelector("a");
      if (event.key === "Enter" && link) link.click();
      if (event.key === "ArrowDown" && link) { event.preventDefault(); link.focus(); }
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (!step) return;
      event.preventDefault();
      (event.target.closest("li")?.[step]?.querySelector("a") ?? (event.key === "ArrowUp" ? field : event.target)).focus();
    });
  }

  for (const box of document.querySelectorAll(".search")) box.hidden = false;
  for (const field of document.querySelectorAll("[data-filter]")) filter(field);
  for (const field of document.querySelectorAll("[data-index]")) suggest(field);
})();
