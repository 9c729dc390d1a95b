"use strict";

// What a page does better with a script than without. Nothing depends on it.
window.portal = { announce, toast, duration, copy };

// Preferences that show at once, without loading the page again. The server keeps the choice.
const APPLY = {
  theme(form, chosen) {
    if (chosen === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = chosen;
    for (const button of form.querySelectorAll("button[name=theme]")) button.setAttribute("aria-pressed", String(button.value === chosen));
  },
  rail(form, chosen, button) {
    document.body.dataset.rail = chosen;
    button.value = chosen === "icons" ? "wide" : "icons";
    button.setAttribute("aria-expanded", String(chosen !== "icons"));
    announce(chosen === "icons" ? "The navigation is folded to icons." : "The navigation is unfolded.");
  },
};
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-prefer]");
  if (!form) return;
  event.preventDefault();
  const data = new FormData(form, event.submitter);
  const name = form.dataset.prefer;
  APPLY[name](form, data.get(name), event.submitter);
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
    await portal.copy(source);
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

async function copy(text, told = "") {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return toast("The browser does not allow copying here. Select the text and copy it.", { error: true });
  }
  toast(told || (text.length > 60 || text.includes("\n") ? "Copied." : `Copied ${text}.`));
}

// Toasts: what your own action led to. They go after a while, unless somebody reads them; errors stay.
function toast(sentence, { error = false, requestId = "", href = "", action = "" } = {}) {
  const region = document.getElementById("toasts");
  if (!region) return announce(sentence);
  if ([...region.children].some((shown) => shown.dataset.sentence === sentence)) return;
  const made = document.createElement("div");
  made.className = `toast banner ${error ? "bad" : "ok"}`;
  made.dataset.sentence = sentence;
  const words = document.createElement("span");
  words.className = "wrap";
  words.textContent = sentence;
  made.append(words);
  if (href) made.append(Object.assign(document.createElement("a"), { href, textContent: action || "Show" }));
  if (requestId) made.append(" ", requestOf(requestId));
  region.append(made);
  settle(made, error);
}
function requestOf(id) {
  const line = document.createElement("span");
  line.className = "request";
  line.append("Request ", Object.assign(document.createElement("code"), { textContent: id }));
  if (copying) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "btn sm", textContent: "Copy" });
    button.dataset.copy = id;
    button.setAttribute("aria-label", "Copy the request id");
    line.append(button);
  }
  return line;
}
const SHOWN_FOR = 6000; // ms
function settle(made, stays) {
  const close = Object.assign(document.createElement("button"), { type: "button", className: "iconbtn close", textContent: "×" });
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => made.remove());
  made.append(close);
  if (stays) return;
  let timer = 0;
  const wait = () => { timer = setTimeout(() => made.remove(), SHOWN_FOR); };
  const hold = () => clearTimeout(timer);
  for (const name of ["mouseenter", "focusin"]) made.addEventListener(name, hold);
  for (const name of ["mouseleave", "focusout"]) made.addEventListener(name, () => { hold(); wait(); });
  wait();
}
for (const made of document.querySelectorAll("#toasts > .toast")) settle(made, !made.matches(".ok"));

// Ages: "12 s", "34 m", "1 h 12 m", "3 d 4 h", as the server writes them.
function duration(seconds) {
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (days) return days < 100 ? `${days} d ${hours % 24} h` : `${days} d`;
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

// The clock of the top bar.
const clock = document.querySelector("time[data-clock]");
if (clock) {
  const show = () => {
    const now = new Date().toISOString();
    clock.dateTime = now;
    clock.querySelector("b").textContent = now.slice(11, 19);
  };
  setInterval(show, 1000);
  show();
}

// Dialogs of the shell: their Close buttons, and a click beside them.
document.addEventListener("click", (event) => {
  const dialog = event.target.closest("dialog");
  if (dialog && (event.target.closest("[data-close]") || event.target === dialog)) dialog.close();
});

// What failed in a part of a page is told as a toast. Refreshes tell it in a place of their own.
document.addEventListener("htmx:responseError", (event) => {
  const { xhr, elt } = event.detail;
  if (xhr.status === 401 || isRefresh(elt)) return;
  const isSentence = (xhr.getResponseHeader("Content-Type") || "").startsWith("text/plain");
  const sentence = isSentence && xhr.responseText ? xhr.responseText : `That did not work (${xhr.status}). Try again in a moment.`;
  toast(sentence, { error: true, requestId: xhr.getResponseHeader("X-Request-ID") || "" });
});
document.addEventListener("htmx:sendError", (event) => {
  if (!isRefresh(event.detail.elt)) toast("The portal does not answer. Check the connection and try again.", { error: true });
});
function isRefresh(element) {
  return element.hasAttribute("data-live") || /portal:changed|every /.test(element.getAttribute("hx-trigger") || "");
}

// Live refresh: not in a hidden tab, and nothing is swapped under somebody who is selecting text.
document.addEventListener("htmx:beforeRequest", (event) => {
  const selection = document.getSelection();
  const swaps = event.target.getAttribute("hx-swap") !== "none";
  const selecting = swaps && !selection.isCollapsed && event.target.contains(selection.anchorNode);
  if (event.target.hasAttribute("data-live") && (document.hidden || selecting || portal.live?.paused)) event.preventDefault();
});
document.addEventListener("htmx:afterSwap", (event) => showButtons(event.target.parentElement || document));
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[data-busy]");
  if (button) {
    button.textContent = button.dataset.busy;
    setTimeout(() => { button.disabled = true; });
  }
});

document.documentElement.dataset.scripted = "";
showButtons(document);
