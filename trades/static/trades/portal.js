"use strict";

// What a page does better with a script than without. Nothing depends on it.

// Theme: at once, without loading the page again. The server keeps the choice.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-theme-form]");
  if (!form) return;
  event.preventDefault();
  const data = new FormData(form, event.submitter);
  const theme = data.get("theme");
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  for (const button of form.querySelectorAll("button[name=theme]")) button.setAttribute("aria-pressed", String(button.value === theme));
  await fetch(form.action, { method: "POST", body: data, redirect: "manual" });
});

// Copy buttons: shown only where they work.
const copying = Boolean(navigator.clipboard);
function showButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !copying;
  for (const button of root.querySelectorAll("[data-show-password]")) button.hidden = false;
}
document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const source = copy.dataset.copyFrom ? document.querySelector(copy.dataset.copyFrom).textContent : copy.dataset.copy;
    await navigator.clipboard.writeText(source);
    announce("Copied.");
  }
  const show = event.target.closest("[data-show-password]");
  if (show) {
    const input = document.getElementById(show.dataset.showPassword);
    input.type = input.type === "password" ? "text" : "password";
    show.textContent = input.type === "password" ? "Show" : "Hide";
  }
  for (const open of document.querySelectorAll("details.drop-down[open]")) if (!open.contains(event.target)) open.open = false;
});

function announce(sentence) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = sentence;
}

// Ages: "12 s", "34 m", "1 h 12 m", "3 d 4 h", as the server writes them.
function duration(seconds) {
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} m`;
  return minutes ? `${minutes} m` : `${Math.max(0, Math.floor(seconds))} s`;
}
function tick() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = duration((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(tick, 1000);

// Live refresh: not in a hidden tab, and never under somebody who is selecting text.
document.addEventListener("htmx:beforeRequest", (event) => {
  const selecting = event.target.contains(document.getSelection().anchorNode) && !document.getSelection().isCollapsed;
  if (event.target.hasAttribute("data-live") && (document.hidden || selecting)) event.preventDefault();
});
document.addEventListener("htmx:afterSwap", (event) => showButtons(event.target.parentElement || document));
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:afterRequest"]) {
  document.addEventListener(name, (event) => {
    const notice = document.getElementById("refresh-failed");
    if (notice && event.target.hasAttribute("data-live")) notice.hidden = name === "htmx:afterRequest" && event.detail.successful;
  });
}

document.addEventListener("quarantined", (event) => {
  for (const counter of document.querySelectorAll("[data-quarantined]")) {
    counter.firstChild.textContent = event.detail.count;
    counter.hidden = event.detail.count === 0;
  }
});

// Upload: what was chosen, what is wrong with it before sending, and dropping files on the area.
for (const input of document.querySelectorAll("input[type=file][data-most-bytes]")) {
  const area = input.closest(".drop");
  const list = document.getElementById(input.dataset.list);
  const describe = () => {
    list.replaceChildren(...Array.from(input.files, (file) => {
      const item = document.createElement("li");
      const large = file.size > Number(input.dataset.mostBytes);
      item.textContent = `${file.name}, ${file.size.toLocaleString("en")} bytes${large ? ": too large, it will be left out" : ""}${file.size ? "" : ": empty"}`;
      if (large || !file.size) item.className = "flag";
      return item;
    }));
    const tooMany = input.files.length > Number(input.dataset.mostFiles);
    input.setCustomValidity(tooMany ? `${input.files.length} files were chosen; choose at most ${input.dataset.mostFiles}.` : "");
    input.reportValidity();
  };
  input.addEventListener("change", describe);
  area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    input.files = event.dataTransfer.files;
    describe();
  });
}
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[data-busy]");
  if (button) {
    button.textContent = button.dataset.busy;
    setTimeout(() => { button.disabled = true; });
  }
});

showButtons(document);
