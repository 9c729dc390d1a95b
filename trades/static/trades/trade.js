"use strict";

// The page of one trade: keys, moving between changes, opening what is folded, finding a field while typing.
{
  const $ = (selector) => document.querySelector(selector);
  const $$ = (selector) => [...document.querySelectorAll(selector)];
  const go = (element) => {
    if (!element) return false;
    element.click();
    return true;
  };

  // Another event, tab or order of the same trade keeps the place on the page, and the focus in History where a key opened it.
  const KEPT = "portal.trade-place";
  const trade = $("#trade-id")?.textContent;
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".tabs a, .seg a, .tl a.ev");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    sessionStorage.setItem(KEPT, JSON.stringify({ trade, y: scrollY, isKey: event.detail === 0 && link.matches(".ev") }));
  });
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
  sessionStorage.removeItem(KEPT);
  if (kept && kept.trade === trade && !location.hash) {
    scrollTo(0, kept.y);
    if (kept.isKey) $(".tl a.ev[aria-current]")?.focus();
  }

  // Folded lines
  const unfold = (link) => {
    const folded = link.closest("tbody");
    const lines = folded.nextElementSibling;
    lines.hidden = false;
    folded.hidden = true;
    const first = lines.querySelector("tr");
    first.tabIndex = -1;
    first.focus({ preventScroll: true });
  };

  // Changes, one after the other
  let at = -1;
  const step = (by) => {
    const changes = $$("[data-change]");
    if (!changes.length) return false;
    at = (at + by + changes.length + (at < 0 && by < 0 ? 1 : 0)) % changes.length;
    changes[at].focus({ preventScroll: true });
    changes[at].scrollIntoView({ block: "center" });
    window.portal?.announce?.(`Change ${at + 1} of ${changes.length}`);
    return true;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-unfold]");
    if (link && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      unfold(link);
    }
    const button = event.target.closest("[data-change-step]");
    if (button) step(Number(button.dataset.changeStep));
    if (event.target.closest("[data-print]")) {
      for (const open of $$("details.drop-down[open]")) open.open = false;
      window.print();
    }
  });
  for (const button of $$("[data-change-step], [data-print]")) button.hidden = false;

  // Lines are split where there is room for it, unless a layout was chosen: say which it is.
  const [split, unified] = $$("[data-auto-layout] a");
  if (unified) {
    const narrow = matchMedia("(max-width: 1023px)");
    const mark = () => {
      split.toggleAttribute("aria-current", !narrow.matches);
      unified.toggleAttribute("aria-current", narrow.matches);
      for (const link of [split, unified]) if (link.hasAttribute("aria-current")) link.setAttribute("aria-current", "true");
    };
    narrow.addEventListener("change", mark);
    mark();
  }

  // Two ticked events are compared; a third takes the place of the first.
  const ticked = [];
  const form = $("#ticking");
  if (form) {
    const button = form.querySelector("button");
    const say = () => {
      button.disabled = ticked.length !== 2;
      form.querySelector("[data-ticked]").textContent = ticked.length ? `Event ${ticked.map((box) => box.value).join(" and ")}` : "";
    };
    for (const box of $$("input[form=ticking]")) {
      if (box.checked) ticked.push(box);
      box.addEventListener("change", () => {
        if (box.checked) ticked.push(box);
        else ticked.splice(ticked.indexOf(box), 1);
        if (ticked.length > 2) ticked.shift().checked = false;
        say();
      });
    }
    say();
  }

  // Fields
  const find = $("#find-field");
  if (find) {
    const rows = [
      ...$$(".event dl.tr dt").map((dt) => [dt, dt.nextElementSibling]),
      ...$$(".event table.ch tbody tr").map((row) => [row]),
    ];
    const texts = rows.map((parts) => parts.map((part) => part.textContent).join(" ").toLowerCase());
    find.addEventListener("input", () => {
      const sought = find.value.trim().toLowerCase();
      let shown = 0;
      rows.forEach((parts, number) => {
        const fits = texts[number].includes(sought);
        shown += fits;
        for (const part of parts) part.hidden = !fits;
      });
      $("#fields-found").textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} fields`;
    });
  }

  // History: up and down move between events, Enter opens.
  const events = () => $$(".tl a.ev");
  const move = (by) => {
    const all = events();
    const from = all.indexOf(document.activeElement);
    const next = from < 0 ? all.findIndex((link) => link.hasAttribute("aria-current")) : from + by;
    if (from < 0 || !all[next]) return false;
    all[next].focus();
    return true;
  };

  if (window.portal?.keys) {
    const tabs = () => $$(".tabs a");
    const compared = () => {
      const first = tabs()[0];
      if (!first) return false;
      const to = new URL(first.href);
      to.searchParams.delete("compare");
      location.assign(to);
      return true;
    };
    const keys = [
      ["y", "Copy the trade id", () => go($("[data-copy-from='#trade-id']:not([hidden])"))],
      ["k", "Previous trade of the list", () => go($(".crumb a[rel=prev]"))],
      ["j", "Next trade of the list", () => go($(".crumb a[rel=next]"))],
      ["1", "Changes", () => go(tabs()[0])],
      ["2", "XML", () => go(tabs()[1])],
      ["3", "Fields", () => go(tabs()[2])],
      ["4", "Transport", () => go(tabs()[3])],
      ["d", "Compare with the event before", compared],
      ["n", "Next change", () => step(1)],
      ["N", "Previous change", () => step(-1)],
      ["ArrowDown", "Next event, in History", () => move(1)],
      ["ArrowUp", "Event before, in History", () => move(-1)],
    ];
    for (const [key, does, run] of keys) window.portal.keys.add({ key, does, group: "This page", run });
  }
}
