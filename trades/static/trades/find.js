"use strict";

// Quick find: a combobox in a dialog. The server finds; this moves among the options and remembers what was opened last.
{
  const dialog = document.getElementById("find");
  const input = document.getElementById("find-text");
  const list = document.getElementById("find-options");
  const state = document.getElementById("find-state");
  const WAIT = 120; // ms after the last key
  const MOST_RECENT = 5;
  const key = `recent-of-${document.body.dataset.user}`;
  let active = null;
  let timer = 0;
  let asking = null;

  portal.find = { open };

  function open(text = "") {
    if (dialog.open) return true;
    if (document.querySelector("dialog[open]")) return false;
    input.value = text;
    list.replaceChildren();
    choose(null);
    dialog.showModal();
    input.focus();
    ask();
    return true;
  }

  // The field of the top bar opens the dialog when it is clicked or typed into; by Tab alone nothing opens.
  const bar = document.querySelector("[data-find-open] input");
  if (bar) {
    const over = () => {
      const text = bar.value;
      bar.value = "";
      open(text);
    };
    bar.addEventListener("click", over);
    bar.addEventListener("input", over);
  }

  input.addEventListener("input", () => {
    choose(null);
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });

  async function ask() {
    timer = 0;
    asking?.abort();
    asking = new AbortController();
    const text = input.value.trim();
    try {
      const answer = await fetch(`/find/?${new URLSearchParams({ q: text })}`, { headers: { "HX-Request": "true" }, signal: asking.signal });
      if (answer.status === 401) {
        dialog.close();
        return portal.session.signInAgain(() => open(text));
      }
      if (!answer.ok) return tell(`${await answer.text()} Request ${answer.headers.get("X-Request-ID")}.`);
      list.innerHTML = await answer.text();
      if (!text) list.prepend(recent());
      choose(list.querySelector("[data-exact]"));
      const count = options().length;
      tell(text && count <= 1 ? "No id and no file name starts with this." : "", text ? `${count} found.` : "");
    } catch (error) {
      if (error.name !== "AbortError") tell("Quick find did not answer. Try again in a moment.");
    }
  }

  // A sentence that is to be seen, or one that is only to be heard.
  function tell(sentence, heard = "") {
    state.textContent = sentence || heard;
    state.classList.toggle("vh", !sentence);
  }

  const options = () => [...list.querySelectorAll("[role=option]")];

  function choose(option) {
    active?.setAttribute("aria-selected", "false");
    active = option;
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  input.addEventListener("keydown", (event) => {
    // Of itself a search field would only be emptied.
    if (event.key === "Escape") {
      event.preventDefault();
      dialog.close();
    }
    const all = options();
    const at = all.indexOf(active);
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? all.length - 1 : at - 1, PageDown: Math.min(all.length - 1, at + 8), PageUp: Math.max(0, at - 8) }[event.key];
    if (to !== undefined && all.length) {
      event.preventDefault();
      choose(all[(to + all.length) % all.length]);
    }
    // Without a choice the form goes to the server, which knows whether the id is exact, even if the options are still on their way.
    if (event.key === "Enter" && active && !timer) {
      event.preventDefault();
      active.click();
    }
  });
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) remember(option);
  });
  list.addEventListener("mousemove", (event) => {
    const option = event.target.closest("[role=option]");
    if (option && option !== active) choose(option);
  });

  // What was opened last, in this browser, by this person.
  function remembered() {
    try {
      return JSON.parse(localStorage.getItem(key)) || [];
    } catch {
      return [];
    }
  }
  function remember(option) {
    const one = { label: option.querySelector("b").textContent, detail: option.querySelector(".sub").textContent, href: option.getAttribute("href") };
    const rest = remembered().filter((other) => other.href !== one.href);
    try {
      localStorage.setItem(key, JSON.stringify([one, ...rest].slice(0, MOST_RECENT)));
    } catch { /* no room, or not allowed: nothing is remembered then */ }
  }
  function recent() {
    const found = remembered();
    const group = Object.assign(document.createElement("div"), { className: "found", hidden: !found.length });
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Recent");
    const name = Object.assign(document.createElement("div"), { className: "found-name", textContent: "Recent" });
    name.setAttribute("aria-hidden", "true");
    group.append(name, ...found.map((one, index) => {
      const option = Object.assign(document.createElement("a"), { className: "found-one", id: `found-recent-${index}`, href: one.href, tabIndex: -1 });
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.append(Object.assign(document.createElement("b"), { textContent: one.label }), " ");
      option.append(Object.assign(document.createElement("span"), { className: "sub", textContent: one.detail }));
      return option;
    }));
    return group;
  }
}
