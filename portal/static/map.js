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
      signDisplay: figure.change ? "exceptZero" : "auto",
    });
    return (value) => (value === null ? "–" : format.format(value) + figure.suffix);
  }

  function fill(template, parts) {
    return template.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  }

  function options(select, pairs, chosen) {
    select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value, false, value === chosen)));
    select.value = chosen;
  }

  // The wish may name what is not there: then the first figure, its first level, its newest period.
  function possible(wish) {
    const figure = wish.figure in choices.figures ? wish.figure : Object.keys(choices.figures)[0];
    const at = choices.figures[figure].levels;
    const level = wish.level in at ? wish.level : Object.keys(at)[0];
    const periods = at[level].periods;
    const period = periods.some(([each]) => each === wish.period) ? wish.period : periods[0][0];
    return { figure, level, period };
  }

  let turn = 0;
  async function show(wish, { announce = true } = {}) {
    const chosen = possible(wish), mine = ++turn;
    const figure = choices.figures[chosen.figure], { file, periods } = figure.levels[chosen.level];
    figureSelect.value = chosen.figure;
    options(levelSelect, Object.keys(figure.levels).map((level) => [level, choices.levels[level]]), chosen.level);
    levelSelect.disabled = levelSelect.options.length < 2;
    options(periodSelect, periods, chosen.period);
    let found;
    try {
      found = await values(file);
    } catch {
      if (mine === turn) news.textContent = choices.failed;
      return;
    }
    if (mine !== turn) return;
    draw(chosen, figure, found);
    const query = `?${new URLSearchParams(chosen)}`;
    history.replaceState(null, "", query);
    for (const link of document.querySelectorAll(".languages a")) link.search = query;
    if (announce) news.textContent = document.getElementById("map-title").textContent;
  }

  function draw(chosen, figure, found) {
    const write = writer(figure), { places } = levels[chosen.level];
    const now = found.values[chosen.period], limits = found.limits[chosen.period];
    const known = new Map(found.places.map((place, at) => [place, now[at]]));
    for (const [name, level] of Object.entries(levels)) {
      level.group.toggleAttribute("hidden", name !== chosen.level);
      level.region.toggleAttribute("hidden", name !== chosen.level);
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
    levels[chosen.level].region.querySelector("thead th:last-child").firstChild.textContent = figure.title;
    both.dataset.scale = figure.change ? "change" : "amount";
    for (const item of document.querySelectorAll("#map-legend li:not([data-class=x])")) {
      const each = limits[item.dataset.class];
      item.hidden = !each;
      const [low, high] = (each ?? []).map(write);
      item.lastElementChild.textContent = low === high ? low ?? "" : fill(choices.range, { low, high });
    }
    const period = Object.fromEntries(choices.figures[chosen.figure].levels[chosen.level].periods)[chosen.period];
    document.getElementById("map-title").textContent = fill(choices.shows, { figure: figure.title, level: choices.words[chosen.level], period });
    const source = document.getElementById("map-source"), at = figure.levels[chosen.level];
    source.href = at.link;
    source.textContent = at.source;
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
  map.addEventListener("focusin", (event) => point(linkAt(event) ?? null));

  // One stop for the Tab key: the arrow keys go to the nearest place in their direction.
  const middle = (link) => {
    const box = link.getBBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  function stop(link) {
    for (const each of map.querySelectorAll('.level a[tabindex="0"]')) each.setAttribute("tabindex", "-1");
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
  form.addEventListener("change", () => show(Object.fromEntries(new FormData(form))));
  const wish = Object.fromEntries(new URLSearchParams(location.search));
  const first = possible({}), asked = possible(wish);
  if (Object.keys(first).some((name) => first[name] !== asked[name])) show(asked, { announce: false });
  else options(periodSelect, choices.figures[first.figure].levels[first.level].periods, first.period);
})();
