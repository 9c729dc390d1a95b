"use strict";

// Lists that people work through: keys for rows, ticks with a count, and live changes that wait while something is ticked.
{
  const LINKS = "tr[data-row] th a, li[data-row] a.id";
  const links = () => [...document.querySelectorAll(LINKS)];
  const here = () => document.activeElement?.closest("[data-row]");
  const move = (step) => () => {
    const all = links();
    const at = all.findIndex((link) => link.closest("[data-row]") === here());
    const next = at < 0 ? all[step > 0 ? 0 : all.length - 1] : all[at + step];
    if (!next) return false;
    next.focus();
    next.closest("[data-row]").scrollIntoView({ block: "nearest" });
    return true;
  };
  const ticks = () => [...document.querySelectorAll("input[type=checkbox][form=ticked]")];
  let last = null;

  function tick(range) {
    const box = here()?.querySelector("input[form=ticked]");
    if (!box) return false;
    const all = ticks();
    const [from, to] = [all.indexOf(last), all.indexOf(box)];
    if (range && from >= 0) for (const other of all.slice(Math.min(from, to), Math.max(from, to) + 1)) other.checked = true;
    else box.checked = !box.checked;
    last = box;
    count();
    return true;
  }

  // How many are ticked. While any is, nothing on the page moves.
  function count() {
    const bar = document.getElementById("ticked");
    const all = document.querySelector("[data-tick-all]");
    const number = ticks().filter((box) => box.checked).length;
    if (window.portal?.live?.hold) portal.live[number ? "hold" : "release"]("ticked");
    if (!bar) return;
    const words = bar.querySelector("[data-ticked-count]");
    words.textContent = number ? `${number} ticked` : words.dataset.empty;
    for (const place of bar.querySelectorAll("[data-n]")) place.textContent = number ? ` ${number}` : "";
    if (!all) return;
    all.checked = number > 0 && number === ticks().length;
    all.indeterminate = number > 0 && !all.checked;
  }

  function clear() {
    const any = ticks().some((box) => box.checked);
    for (const box of ticks()) box.checked = false;
    count();
    return any;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-tick-all]")) for (const box of ticks()) box.checked = event.target.checked;
    if (event.target.matches("input[type=checkbox]")) count();
  });
  window.addEventListener("pageshow", count);
  for (const all of document.querySelectorAll("[data-tick-all]")) all.hidden = false;
  count();

  // Live changes wait while something is ticked or written.
  const isBusy = () => ticks().some((box) => box.checked) || Boolean(document.getElementById("note")?.value);
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id === "exceptions" && isBusy()) event.preventDefault();
  });
  // htmx sends the name of a button within its form only.
  document.addEventListener("htmx:configRequest", (event) => {
    const button = event.detail.triggeringEvent?.submitter;
    if (event.target.id === "acts" && button?.name) event.detail.parameters[button.name] = button.value;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, requestConfig } = event.detail;
    if (target.id !== "exceptions") return;
    const wasTicked = requestConfig.elt === target && isBusy(); // while the answer was on its way
    if (xhr.status === 204 || wasTicked) event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:afterSwap", count);
  document.addEventListener("portal:told", (event) => {
    const { sentence, error } = event.detail;
    if (window.portal?.toast) portal.toast(sentence, { error });
  });

  if (window.portal?.keys) {
    const { add } = portal.keys;
    add({ key: "j", does: "Next row", run: move(1) });
    add({ key: "k", does: "Previous row", run: move(-1) });
    add({ key: "Escape", does: "Clear ticks", run: clear });
    if (document.getElementById("ticked")) {
      add({ key: "x", does: "Tick the row", run: () => tick(false) });
      add({ key: "X", does: "Tick up to the row", run: () => tick(true) });
    }
    if (document.getElementById("acts")) {
      add({ key: "a", does: "Assign the row to me", run: () => {
        const button = here()?.querySelector("[data-assign]");
        button?.click();
        return Boolean(button);
      } });
      add({ key: "n", does: "Write a note for the ticked rows", run: () => {
        const field = document.getElementById("note");
        const box = here()?.querySelector("input[form=ticked]");
        if (!field) return false;
        if (box && !ticks().some((other) => other.checked)) tick(false);
        field.focus();
        return true;
      } });
    }
  }
}
