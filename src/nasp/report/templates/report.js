// Tabs, the scrubber through the epochs, and print; without it everything stands below each other.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  const tabs = all('[role="tab"]');
  const choose = (chosen, focus) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    if (focus) chosen.focus();
  };
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", (event) => {
      const ends = { Home: 0, End: tabs.length - 1 };
      const next = event.key in steps ? place + steps[event.key] + tabs.length : ends[event.key];
      if (next === undefined) return;
      event.preventDefault();
      choose(tabs[next % tabs.length], true);
    });
  });
  if (tabs.length) choose(tabs[0], false);

  const moving = (root) => {
    const { stops, grids, colours } = JSON.parse(root.querySelector("script").textContent);
    const range = root.querySelector('input[type="range"]');
    if (!range) return;
    const said = root.querySelector("output");
    const play = root.querySelector("[data-play]");
    let timer = null;

    const show = () => {
      const place = Number(range.value);
      const stop = stops[place];
      const before = place > 0 ? stops[place - 1].path : stop.path;
      let changes = 0;
      for (const [edge, name] of Object.entries(stop.path)) {
        const hasChanged = before[edge] !== name;
        changes += hasChanged;
        for (const mark of all(`[data-edge="${CSS.escape(edge)}"]`, root)) {
          mark.classList.toggle("on", name !== null);
          mark.classList.toggle("changed", hasChanged);
          mark.style.setProperty("--k", `var(--c${colours[name] ?? 8})`);
          const label = mark.querySelector(".label");
          if (!label) continue;
          label.style.setProperty("--k", `var(--c${colours[name] ?? 8})`);
          label.classList.toggle("none", name === "none");
          const text = label.querySelector("text");
          text.textContent = name ?? "";
          const rect = label.querySelector("rect");
          const width = 7.4 * text.textContent.length + 16;
          rect.setAttribute("x", Number(text.getAttribute("x")) - width / 2);
          rect.setAttribute("width", width);
          mark.setAttribute("aria-label", `${mark.dataset.label}: ${name ?? "off"}`);
        }
      }
      all("table.grid", root).forEach((table, number) => {
        const { entries, edges, candidates, low, high } = grids[number];
        const rows = entries[Math.min(stop.epoch, entries.length - 1)];
        all("tr[data-row]", table).forEach((row) => {
          const place = Number(row.dataset.row);
          all("td", row).forEach((cell, column) => {
            const value = rows[place][column];
            cell.style.setProperty("--v", high > low ? (value - low) / (high - low) : 0);
            cell.classList.toggle("kept", stop.path[edges[place]] === candidates[column]);
            cell.textContent = value.toFixed(2);
          });
        });
      });
      const edges = changes === 1 ? "edge" : "edges";
      const news = place === 0 ? "" : `: ${changes} ${edges} changed since ${stops[place - 1].label}`;
      said.textContent = stop.label + news;
      range.setAttribute("aria-valuetext", stop.label);
    };
    const go = (by) => {
      range.value = Number(range.value) + by;
      show();
    };
    const halt = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    };
    range.addEventListener("input", () => { halt(); show(); });
    all("[data-by]", root).forEach((button) =>
      button.addEventListener("click", () => { halt(); go(Number(button.dataset.by)); }));
    play.addEventListener("click", () => {
      if (timer) return halt();
      if (range.value === range.max) range.value = 0;
      show();
      play.textContent = "Pause";
      timer = setInterval(() => (range.value === range.max ? halt() : go(1)), 900);
    });
    show();
  };
  all(".moves").forEach(moving);

  addEventListener("beforeprint", () => all("details").forEach((each) => { each.open = true; }));
})();
