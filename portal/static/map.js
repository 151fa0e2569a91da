// The map: another figure, level or period is shown in the map and in the table beside it; the address keeps what was chosen.
// Without this script the page shows the first figure at its newest period.
"use strict";
(() => {
  const form = document.getElementById("map-choice");
  if (!form) return;
  const choices = JSON.parse(document.getElementById("map-choices").textContent);
  const language = document.documentElement.lang;
  const map = document.getElementById("map"), mark = document.getElementById("map-mark");
  const pointed = document.getElementById("map-pointed"), news = document.getElementById("map-news");
  const both = document.querySelector(".map-and-table");
  const named = (list, name) => list.find((each) => each.name === name);
  const { figure: figureSelect, level: levelSelect, period: periodSelect } = form.elements;
  const code = (link) => link.getAttribute("href").split("/").pop().replace(/\.html$/, "");

  // What is on the page: for each level its links in the map and its rows in the table, by code.
  const levels = {};
  for (const group of map.querySelectorAll(".level")) {
    const region = document.querySelector(`.map-tables [data-level="${group.dataset.level}"]`);
    const places = new Map();
    for (const link of region.querySelectorAll("tbody a")) places.set(code(link), { name: link.textContent, cell: link.closest("tr").lastElementChild });
    for (const link of group.querySelectorAll("a")) Object.assign(places.get(code(link)), { link });
    levels[group.dataset.level] = { group, region, places };
  }

  const files = new Map();
  function values(file) {
    if (!files.has(file)) {
      const found = fetch(choices.root + file).then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.status))));
      found.catch(() => files.delete(file));
      files.set(file, found);
    }
    return files.get(file);
  }

  function writer(figure) {
    const format = new Intl.NumberFormat(language === "en" ? "en-GB" : language, {
      minimumFractionDigits: figure.digits, maximumFractionDigits: figure.digits, useGrouping: "always",
      signDisplay: figure.change ? "exceptZero" : "negative",
    });
    return (value) => (value === null ? "–" : format.format(value) + figure.suffix);
  }

  function fill(template, parts) {
    return template.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  }

  function options(select, list, chosen) {
    select.replaceChildren(...list.map(({ name, title }) => new Option(title, name)));
    select.value = chosen.name;
    select.disabled = list.length < 2;
  }

  // The wish may name what is not there: then the first figure, its first level, its newest period.
  function possible(wish) {
    const figure = named(choices.figures, wish.figure) ?? choices.figures[0];
    const level = named(figure.levels, wish.level) ?? figure.levels[0];
    return { figure, level, period: named(level.periods, wish.period) ?? level.periods[0] };
  }

  function fields({ figure, level, period }) {
    options(figureSelect, choices.figures, figure);
    options(levelSelect, figure.levels, level);
    options(periodSelect, level.periods, period);
  }

  let shown = possible({}), turn = 0;
  async function show(chosen, { announce = true } = {}) {
    const mine = ++turn;
    fields(chosen);
    let found;
    try {
      found = await values(chosen.level.file);
    } catch {
      if (mine !== turn) return;
      fields(shown);
      news.textContent = choices.failed;
      return;
    }
    if (mine !== turn) return;
    draw(chosen, found);
    shown = chosen;
    const query = `?${new URLSearchParams(Object.entries(chosen).map(([key, { name }]) => [key, name]))}`;
    history.replaceState(null, "", query);
    for (const link of document.querySelectorAll(".languages a")) link.search = query;
    if (announce) news.textContent = document.getElementById("map-title").textContent;
  }

  function draw({ figure, level, period }, found) {
    const write = writer(figure), { region, places } = levels[level.name];
    const now = found.values[period.name], limits = found.limits[period.name];
    const known = new Map(found.places.map((place, at) => [place, now[at]]));
    for (const [name, each] of Object.entries(levels)) {
      each.group.setAttribute("display", name === level.name ? "inline" : "none"); // `hidden` is not of SVG
      each.region.toggleAttribute("hidden", name !== level.name);
    }
    for (const [place, { name, link, cell }] of places) {
      const value = known.get(place) ?? null;
      const number = value === null ? "x" : limits.findIndex((each) => each && each[0] <= value && value <= each[1]);
      cell.textContent = write(value);
      cell.dataset.value = value ?? "";
      if (!link) continue;
      link.setAttribute("class", `c${number}`);
      link.querySelector("title").textContent = `${name}: ${value === null ? choices.unknown : write(value)}`;
    }
    const heads = [...region.querySelectorAll("thead th")];
    (heads.at(-1).querySelector("button") ?? heads.at(-1)).textContent = figure.column;
    for (const head of heads) if (head.dataset.kind === "number") head.removeAttribute("aria-sort"); // the order is that of other values
    both.dataset.scale = figure.change ? "change" : "amount";
    for (const item of document.querySelectorAll("#map-legend li[data-class]:not([data-class=x])")) {
      const each = limits[item.dataset.class];
      item.hidden = !each;
      const [low, high] = (each ?? []).map(write);
      item.lastElementChild.textContent = low === high ? low ?? "" : fill(choices.range, { low, high });
    }
    const shows = { figure: figure.title, level: level.word, period: period.title };
    document.getElementById("map-title").textContent = fill(choices.shows, shows);
    for (const part of ["unit", "note"]) {
      const element = document.getElementById(`map-${part}`);
      element.textContent = figure[part];
      element.hidden = !figure[part];
    }
    const source = document.getElementById("map-source");
    source.href = level.link;
    source.textContent = level.source;
    document.getElementById("map-classes").textContent = figure.change ? choices.around_zero : choices.even;
    point(null);
  }

  // The place that is pointed at or has the focus: its name and value above the map, its outline on top of its neighbors.
  function point(link) {
    mark.replaceChildren(...(link ? [link.querySelector("path, circle").cloneNode()] : []));
    if (link) pointed.textContent = link.querySelector("title").textContent;
  }
  const linkAt = (event) => event.target.closest?.("#map .level a");
  map.addEventListener("pointerover", (event) => point(linkAt(event) ?? null));
  // A finger points with its first tap, and opens the place's page with the second.
  let tapped = null;
  map.addEventListener("click", (event) => {
    const link = linkAt(event);
    if (event.pointerType !== "touch" || link === tapped) return;
    event.preventDefault();
    tapped = link;
    point(link ?? null);
  });
  // Not on the map itself: Chromium takes an SVG with such a listener for a stop of the Tab key.
  both.addEventListener("focusin", (event) => point(linkAt(event) ?? null));
  both.addEventListener("focusout", () => point(null));
  map.addEventListener("pointerleave", () => point(null));

  // One stop for the Tab key: the arrow keys go to the nearest place in their direction.
  const middle = (link) => {
    const box = link.getBBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  function stop(link) {
    for (const each of link.parentNode.querySelectorAll('a[tabindex="0"]')) each.setAttribute("tabindex", "-1");
    link.setAttribute("tabindex", "0");
  }
  for (const { group } of Object.values(levels)) group.querySelector("a")?.setAttribute("tabindex", "0");
  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  map.addEventListener("keydown", (event) => {
    const way = ways[event.key], from = linkAt(event);
    if (!way || !from) return;
    event.preventDefault();
    const [x, y] = middle(from);
    let best = null, least = Infinity;
    for (const link of from.parentNode.querySelectorAll("a")) {
      const [toX, toY] = middle(link), along = (toX - x) * way[0] + (toY - y) * way[1];
      const aside = Math.abs((toX - x) * way[1]) + Math.abs((toY - y) * way[0]);
      if (link !== from && along > aside / 2 && along + 2 * aside < least) [best, least] = [link, along + 2 * aside];
    }
    if (!best) return;
    stop(best);
    best.focus();
  });

  form.hidden = false;
  pointed.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => show(possible(Object.fromEntries(new FormData(form)))));
  const asked = possible(Object.fromEntries(new URLSearchParams(location.search)));
  if (asked.level !== shown.level || asked.period !== shown.period) show(asked, { announce: false });
  else fields(shown);
})();
