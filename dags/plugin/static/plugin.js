"use strict";
// Two things that a page inside Airflow's frame cannot do by itself: follow Airflow's light or dark mode, and lead out of the frame.
(() => {
  const outer = (() => {
    try {
      return window.parent === window ? null : window.parent.document;
    } catch {
      return null; // another origin
    }
  })();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const applyTheme = () => {
    const names = outer?.documentElement.classList;
    const isDark = names?.contains("dark") || (!names?.contains("light") && dark.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    if (outer) {
      const colors = [outer.body, outer.documentElement].map((element) => getComputedStyle(element).backgroundColor);
      const opaque = colors.find((color) => color !== "transparent" && !/[,/] ?0\)$/.test(color));
      if (opaque) document.documentElement.style.setProperty("--outer", opaque);
    }
  };
  applyTheme();
  dark.addEventListener("change", applyTheme);
  if (outer) {
    new MutationObserver(applyTheme).observe(outer.documentElement, { attributes: true, attributeFilter: ["class"] });
  }

  // The sandbox lets no link change the window around it. A link made in that window's own document may.
  const leave = (event) => {
    const link = event.target.closest?.("a[data-outer]");
    if (!link || !outer || event.button > 1) return;
    event.preventDefault();
    const made = outer.createElement("a");
    made.href = link.href;
    if (event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey) made.target = "_blank";
    made.rel = "noopener";
    outer.body.append(made);
    made.click();
    made.remove();
  };
  document.addEventListener("click", leave);
  document.addEventListener("auxclick", leave);
})();
