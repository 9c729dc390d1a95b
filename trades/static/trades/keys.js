"use strict";

// Keys: single ones and sequences such as "g b". A page adds its own with portal.keys.add; the last one added wins.
// Character keys can be turned off in the preferences. None fires where somebody types, or in a dialog.
{
  const known = [];
  const PATIENCE = 1500; // ms between the keys of a sequence
  const TYPING = "textarea, select, [contenteditable=''], [contenteditable=true], input:not([type=checkbox], [type=radio], [type=button], [type=submit], [type=reset])";
  const ACTS = "a[href], button, summary, input, [role=button], [role=option], [role=tab], [role=menuitem]";
  const NAMES = { " ": "Space" };
  const SHOWN = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
  let pending = "";
  let timer = 0;

  const isOn = () => document.body.dataset.keys !== "off";
  const isCharacter = (key) => key.length === 1;
  const find = (keys) => known.findLast((entry) => entry.key === keys);

  function add(entry) {
    known.push({ group: "This page", ...entry });
  }

  function forget() {
    pending = "";
    clearTimeout(timer);
  }

  function pressed(event) {
    const key = NAMES[event.key] || event.key;
    if (event.defaultPrevented || event.isComposing || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (key.toLowerCase() === "k" && !event.shiftKey) run(find("Ctrl K"), event);
      return;
    }
    const target = event.target instanceof Element ? event.target : document.body;
    if (key === "Escape") return void escape(event, target);
    if (target.closest(TYPING) || document.querySelector("dialog[open]") || target.closest("[popover]")) return void forget();
    if (["Enter", "Space"].includes(key) && target.closest(ACTS)) return;
    if (event.shiftKey && key.length > 1) return;
    if (isCharacter(key) && !isOn()) return;
    const keys = pending ? `${pending} ${key}` : key;
    const starts = known.some((entry) => entry.key.startsWith(`${keys} `));
    if (starts) {
      event.preventDefault();
      forget();
      pending = keys;
      timer = setTimeout(forget, PATIENCE);
      return;
    }
    forget();
    run(find(keys) || find(key), event);
  }

  function run(entry, event) {
    if (!entry || entry.run(event) === false) return false;
    event.preventDefault();
    return true;
  }

  // The browser closes dialogs and popovers itself; then what folds out; then what pages add (clear ticks), the last one first. A search field is left.
  function escape(event, target) {
    forget();
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    const folded = target.closest("details.drop-down[open]") || document.querySelector("details.drop-down[open]");
    if (folded) {
      folded.open = false;
      folded.querySelector("summary").focus();
      event.preventDefault();
    } else if (target.matches("input[type=search]")) {
      event.preventDefault(); // else the browser empties the field, and with it the filter
      target.blur();
    } else if (!target.closest(TYPING)) {
      known.filter((entry) => entry.key === "Escape").reverse().some((entry) => run(entry, event));
    }
  }

  document.addEventListener("keydown", pressed);
  portal.keys = { add, list: () => known.slice(), isOn };

  // What every page has.
  const click = (selector) => () => {
    const element = document.querySelector(selector);
    if (!element) return false;
    element.click();
    return true;
  };
  const everywhere = (key, does, action) => add({ key, does, run: action, group: "Everywhere" });
  everywhere("/", "Quick find", () => portal.find ? portal.find.open() : false);
  everywhere("Ctrl K", "Quick find (also ⌘ K)", () => portal.find ? portal.find.open() : false);
  everywhere("?", "Show the keys of this page", () => show());
  for (const link of document.querySelectorAll(".rail a[data-go]")) {
    const name = link.querySelector("span").textContent.trim();
    add({ key: `g ${link.dataset.go}`, does: `Go to ${name}`, group: "Go to", run: () => link.click() });
  }
  everywhere("[", "Fold or unfold the navigation", click("[data-prefer=rail] button"));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("a[data-shortcuts]")) return;
    event.preventDefault();
    document.querySelector("[popover]:popover-open")?.hidePopover();
    show();
  });

  function element(name, text, ...children) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    made.append(...children);
    return made;
  }
  function caps(keys) {
    const parts = keys.split(" ");
    return parts.flatMap((key, index) => {
      const cap = element("kbd", /^[A-Z]$/.test(key) && parts[0] !== "Ctrl" ? `Shift ${key.toLowerCase()}` : SHOWN[key] || key);
      return index ? [parts[0] === "Ctrl" ? " " : " then ", cap] : [cap];
    });
  }
  function show() {
    const dialog = document.getElementById("shortcuts");
    if (!dialog || dialog.open) return false;
    const groups = Map.groupBy ? Map.groupBy(known, (entry) => entry.group) : grouped();
    const last = ["Everywhere", "Go to"];
    const order = ["This page", ...[...groups.keys()].filter((name) => name !== "This page" && !last.includes(name)), ...last];
    dialog.querySelector("[data-keys]").replaceChildren(...order.filter((name) => groups.has(name)).map((name) => {
      const list = element("dl");
      for (const [key, entry] of new Map(groups.get(name).map((each) => [each.key, each]))) {
        list.append(element("div", "", element("dt", "", ...caps(key)), element("dd", entry.does)));
      }
      return element("section", "", element("h3", name), list);
    }));
    dialog.querySelector("[data-keys-off]").hidden = isOn();
    dialog.showModal();
    return true;
  }
  function grouped() {
    const groups = new Map();
    for (const entry of known) groups.set(entry.group, [...(groups.get(entry.group) || []), entry]);
    return groups;
  }
}
