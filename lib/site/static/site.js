// The leaderboard's sorting and switch, and what the theme leaves unnamed or out of the keyboard's reach.
"use strict";
document.documentElement.classList.add("script");

const board = document.querySelector("table.board");
if (board) {
  const epoch = () => document.querySelector('input[name="epoch"]:checked').value;
  const body = board.tBodies[0];
  const key = (row, column, kind) => {
    const cell = row.cells[column];
    return kind === "text" ? cell.textContent : parseFloat(cell.dataset[epoch()]);  // NaN where there is none
  };
  const sort = () => {
    const head = board.querySelector("thead [aria-sort]");
    if (!head) return;
    const column = head.cellIndex, kind = head.dataset.sort, sign = head.getAttribute("aria-sort") === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((one, other) => {
      const a = key(one, column, kind), b = key(other, column, kind);
      if (kind === "text") return sign * a.localeCompare(b);
      return Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0;  // what has no number comes last
    });
    body.append(...rows);
  };
  const show = () => {
    for (const cell of body.querySelectorAll("td.number")) {
      const [mean, shown, left, width] = cell.dataset[epoch()].split("|");
      const value = cell.querySelector(".value"), bar = cell.querySelector(".bar i");
      if (!value) { cell.textContent = mean || "–"; continue; }
      value.textContent = shown || "–";
      bar.style.left = `${left || 0}%`; bar.style.width = `${width || 0}%`; bar.hidden = !mean;
    }
    document.getElementById("epoch-words").textContent = document.querySelector('input[name="epoch"]:checked').dataset.words;
    sort();
  };
  for (const head of board.querySelectorAll("thead th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button"; button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      board.querySelectorAll("thead [aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      const first = head.dataset.sort === "text" || "low" in head.dataset ? "ascending" : "descending";
      head.setAttribute("aria-sort", now ? (now === "ascending" ? "descending" : "ascending") : first);
      sort();
    });
  }
  document.querySelectorAll('input[name="epoch"]').forEach((input) => input.addEventListener("change", show));
}

const mend = () => {
  document.querySelectorAll("nav summary:not([aria-label])").forEach((summary) => {
    const name = summary.parentElement.parentElement.querySelector("a");
    summary.setAttribute("aria-label", `Pages under ${name ? name.textContent.trim() : "this"}`);
  });
  document.querySelectorAll('input[type="search"]:not([aria-label])').forEach((input) => input.setAttribute("aria-label", "Search"));
  document.querySelectorAll("pre, .output, .scrolls, mjx-container, .pst-scrollable-table-container").forEach((box) => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;  // a box that scrolls is reached by the keyboard
  });
};
addEventListener("load", async () => {
  mend();
  await window.MathJax?.startup?.promise;
  mend();  // the formulas have their size
  document.documentElement.dataset.ready = "";
});
