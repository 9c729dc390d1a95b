"use strict";

// Live: one event stream per tab that says "changed, now at N"; without a free stream, or while it is lost, the tab asks every 5 s.
// Pages listen for `portal:changed` on the document and ask for their own fragment. Nothing moves under the reader's hands.
//   portal.live.paused, .pause(), .resume()       the reader's wish, kept per tab
//   portal.live.hold(reason), .release(reason)    while something is ticked or open: rows wait behind a "12 updates, show"
//   portal.live.onstate(fn)                       fn({ state, words, figures }) at once and whenever one of them changes
//   portal.live.say(sentence)                     to screen readers, at most every 15 s; a function is asked when it is time
//   portal.rows(tbody, html, { still })           puts changed rows into a table; html is <tbody data-order="id id …">changed rows</tbody>
window.portal = window.portal || {};
{
  const STREAM = "/live/", NOW = "/live/now", EVERY = 5000, RETRY = 60_000, STALE = 120_000, SILENT = 40_000, SAID = 15_000; // ms
  const chip = document.getElementById("chip-live");
  const reasons = new Set(), watchers = [];
  const tab = { get paused() { return read("paused") === "yes"; }, set paused(on) { write("paused", on ? "yes" : "no"); } };
  let source = null, figures = null, mark = "", base = null, state = "", words = "", refreshes = true;
  let answered = Date.now(), lostAt = 0, polledAt = 0, streamAt = 0, over = false;

  function read(name) { try { return sessionStorage.getItem(`live-${name}`); } catch { return null; } }
  function write(name, value) { try { sessionStorage.setItem(`live-${name}`, value); } catch { /* not allowed: for this page alone */ } }

  // The stream. A closed one (no slot left, blocked, signed out) is tried again after a minute.

  function open() {
    close();
    if (over || document.hidden) return;
    streamAt = Date.now();
    source = new EventSource(STREAM);
    source.onmessage = (event) => {
      lostAt = 0;
      take(JSON.parse(event.data));
    };
    source.onerror = () => {
      lostAt ||= Date.now();
      if (source.readyState === EventSource.CLOSED) {
        close();
        poll();
      }
      show();
    };
  }

  function close() {
    source?.close();
    source = null;
  }

  async function poll() {
    polledAt = Date.now();
    try {
      const answer = await fetch(NOW, { headers: { Accept: "application/json", "HX-Request": "true" } });
      if (answer.status === 401 || answer.status === 403) return signedOut();
      if (!answer.ok) throw new Error(answer.statusText);
      const wasAway = lostAt && Date.now() - lostAt > 2000;
      if (!source) lostAt = 0;
      take(await answer.json());
      if (!source && wasAway) open();
    } catch {
      lostAt ||= Date.now();
    }
    show();
  }

  function signedOut() {
    over = true;
    close();
    show();
    document.dispatchEvent(new CustomEvent("portal:signed-out"));
  }

  // What came: figures for the chips, and the mark. Its part before the dot changes when something did; the part behind it every
  // 15 s, so that what two transactions committed out of order is shown a little later.

  function take(next) {
    answered = Date.now();
    const isNew = next.mark !== mark;
    base ??= next.messages;
    mark = next.mark;
    figures = next;
    counted();
    show();
    if (isNew || refreshes) changed();
    refreshes = false;
  }

  let firedAt = 0, timer = 0, missed = false;
  function changed() {
    missed = tab.paused || document.hidden;
    if (missed || timer) return;
    timer = setTimeout(() => {
      timer = 0;
      missed = tab.paused || document.hidden;
      if (missed) return;
      firedAt = Date.now();
      base = figures.messages;
      document.dispatchEvent(new CustomEvent("portal:changed", { detail: { at: figures.at, held: reasons.size > 0 } }));
    }, Math.max(0, firedAt + 1000 - Date.now()));
  }

  function tick() {
    if (document.hidden || over) return;
    const now = Date.now();
    const silent = source && now - answered > SILENT && now - streamAt > SILENT;
    if (silent) close();
    if (!source && now - streamAt > RETRY) open();
    if ((!source || lostAt) && now - polledAt >= EVERY) poll();
    show();
  }

  // The chips: words and colour.

  const wide = matchMedia("(min-width: 72rem)");
  function newest() {
    if (!figures?.newest) return "";
    const age = portal.duration((Date.now() - Date.parse(figures.newest)) / 1000);
    return wide.matches ? `, newest ${age} ago` : `, ${age}`;
  }

  const STATES = {
    live: () => `Live${newest()}`,
    lost: () => `Reconnecting, ${portal.duration((Date.now() - lostAt) / 1000)}`,
    polling: () => `Every ${EVERY / 1000} s`,
    paused: () => (figures && figures.messages > base ? `Paused, ${(figures.messages - base).toLocaleString("en")} new` : "Paused"),
    stale: () => `No data for ${Math.floor((Date.now() - answered) / 60_000)} min`,
    over: () => "Signed out",
  };
  const TITLES = {
    live: "Changes appear by themselves; so long ago the newest event arrived", lost: "The connection is lost; asking every 5 s meanwhile",
    polling: "No live stream is free or allowed; asking every 5 s", paused: "Changes wait until you resume (P)",
    stale: "Neither the live stream nor asking has been answered", over: "Sign in again to see changes",
  };

  function stateNow() {
    const now = Date.now();
    if (over) return "over";
    if (now - answered > STALE) return "stale";
    if (tab.paused) return "paused";
    if (lostAt && now - lostAt > 2000) return "lost";
    return source || !figures ? "live" : "polling";
  }

  function show() {
    if (!chip) return;
    const before = `${state} ${words}`;
    state = stateNow();
    words = STATES[state]();
    chip.hidden = false;
    chip.dataset.state = state;
    if (chip.title !== TITLES[state]) chip.title = TITLES[state];
    put(chip.querySelector("b"), words);
    for (const button of document.querySelectorAll("[data-live-pause]")) {
      button.hidden = false;
      button.setAttribute("aria-pressed", String(tab.paused));
    }
    if (before !== `${state} ${words}`) for (const fn of watchers) fn({ state, words, figures });
  }

  function put(element, text) {
    if (element && element.textContent !== text) element.textContent = text;
  }

  function counted() {
    for (const what of ["quarantined", "exceptions"]) {
      for (const counter of document.querySelectorAll(`[data-${what}]`)) {
        put(counter.firstChild, figures[what]);
        counter.hidden = figures[what] === "0";
      }
    }
    fill(document.getElementById("chip-workers"), figures.workers);
    fill(document.getElementById("chip-queue"), figures.queue);
  }

  // A chip's figures come as { name, value, tone, title }.
  function fill(element, told) {
    if (!element || !told) return;
    const text = element.querySelector("span");
    if (text && text.textContent !== `${told.name} ${told.value}`) {
      text.replaceChildren(`${told.name} `, Object.assign(document.createElement("b"), { textContent: told.value }));
    }
    for (const tone of ["warn", "bad"]) element.classList.toggle(tone, told.tone === tone);
    element.title = told.title;
  }

  // Screen readers: never one message per row.

  let saidAt = -SAID, saying = null;
  function say(sentence) {
    const waits = saying !== null;
    saying = sentence;
    if (waits) return;
    setTimeout(() => {
      saidAt = performance.now();
      const text = typeof saying === "function" ? saying() : saying;
      saying = null;
      if (text && !tab.paused) portal.announce(text);
    }, Math.max(0, saidAt + SAID - performance.now()));
  }

  function pause() {
    tab.paused = true;
    base = figures?.messages ?? null;
    show();
  }

  function resume() {
    tab.paused = false;
    show();
    if (missed) changed();
  }

  portal.live = {
    get paused() { return tab.paused; },
    get held() { return reasons.size > 0; },
    get state() { return state; },
    get figures() { return figures; },
    pause,
    resume,
    toggle: () => (tab.paused ? resume() : pause()),
    hold: (reason) => { reasons.add(reason); },
    release: (reason) => { if (reasons.delete(reason) && !reasons.size) document.dispatchEvent(new CustomEvent("portal:released")); },
    onstate: (fn) => { watchers.push(fn); fn({ state, words, figures }); },
    say,
  };

  if (chip) {
    document.addEventListener("click", (event) => { if (event.target.closest("[data-live-pause]")) portal.live.toggle(); });
    document.addEventListener("DOMContentLoaded", () => {
      portal.keys?.add({ key: "p", does: "Pause or resume live changes", group: "Everywhere", run: () => {
        portal.live.toggle();
        portal.announce(tab.paused ? "Live changes are paused." : "Live changes are shown again.");
      } });
    });
    // A hidden tab asks nothing, and is told everything when it is seen again.
    const seen = () => {
      if (document.hidden) return close();
      refreshes = true;
      open();
    };
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", (event) => { if (event.persisted) seen(); });
    document.addEventListener("portal:signed-in", () => {
      over = false;
      seen();
      show();
    });
    setInterval(tick, 1000);
    open();
    show();
  }
}

// Rows that changed, put in their places. What has the focus, is ticked, selected or scrolled to stays as it is.
{
  const waiting = new WeakMap(); // tbody -> { rows: Map of id to row, order, pill }
  const HIT = matchMedia("(prefers-reduced-motion: reduce)").matches ? 5000 : 1600; // ms

  portal.rows = (tbody, html, { still = false } = {}) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const sent = template.content.querySelector("tbody");
    if (!sent) return;
    const news = waiting.get(tbody) || { rows: new Map(), pill: null };
    for (const row of sent.rows) news.rows.set(row.id, row);
    news.order = (sent.dataset.order || "").split(" ").filter(Boolean);
    waiting.set(tbody, news);
    if (still || isBusy(tbody)) offer(tbody, news);
    else place(tbody, news);
  };

  document.addEventListener("portal:released", () => {
    for (const tbody of document.querySelectorAll("tbody")) {
      const news = waiting.get(tbody);
      if (news?.pill?.dataset.held && !isBusy(tbody)) place(tbody, news);
    }
  });

  function isBusy(tbody) {
    const selection = document.getSelection();
    const box = tbody.closest(".tblwrap");
    const isSelecting = !selection.isCollapsed && tbody.contains(selection.anchorNode);
    return portal.live.held || isSelecting || box?.scrollTop > 0 || tbody.closest("table").getBoundingClientRect().top < 0;
  }

  function offer(tbody, news) {
    const box = tbody.closest(".tblwrap") || tbody.closest("table");
    if (!news.pill) {
      const holder = Object.assign(document.createElement("div"), { className: "live-news" });
      news.pill = Object.assign(document.createElement("button"), { type: "button", className: "pill" });
      news.pill.addEventListener("click", () => {
        place(tbody, news);
        box.scrollTop = 0;
        box.focus({ preventScroll: true });
      });
      holder.append(news.pill);
      const top = box.getBoundingClientRect().top;
      box.before(holder);
      holder.style.marginBottom = `${top - box.getBoundingClientRect().top}px`; // takes back what a gap would add
    }
    news.pill.dataset.held = portal.live.held ? "yes" : "";
    news.pill.textContent = `${portal.count(news.rows.size, "update")}, show`;
  }

  function place(tbody, news) {
    const active = document.activeElement;
    const box = tbody.closest(".tblwrap");
    const [top, y] = [box?.scrollTop, window.scrollY];
    const wanted = new Set(news.order);
    for (const row of [...tbody.rows]) if (!wanted.has(row.id)) row.remove();
    let next = tbody.firstElementChild;
    for (const id of news.order) {
      const old = document.getElementById(id);
      const inPlace = old && old === next;
      if (inPlace) next = next.nextElementSibling;
      const row = merge(old, news.rows.get(id));
      if (row && !inPlace) tbody.insertBefore(row, next);
    }
    news.pill?.parentElement.remove();
    waiting.delete(tbody);
    if (document.activeElement !== active) (active?.isConnected ? active : box)?.focus({ preventScroll: true });
    if (box) box.scrollTop = top;
    window.scrollTo(window.scrollX, y);
    tbody.dispatchEvent(new CustomEvent("portal:placed", { bubbles: true }));
  }

  // The row that is there takes over the cells that differ; one that is not there yet comes as it is.
  function merge(old, fresh) {
    if (!fresh || old === fresh) return old;
    if (!old || old.cells.length !== fresh.cells.length) {
      for (const cell of fresh.cells) cell.classList.add("hit");
      old?.replaceWith(fresh);
      return lit(fresh);
    }
    for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) old.setAttribute(name, value);
    for (const cell of [...old.cells]) change(cell, fresh.cells[cell.cellIndex]?.cloneNode(true));
    return lit(old);
  }

  function change(cell, fresh) {
    cell.classList.remove("hit");
    if (!cell.className) cell.removeAttribute("class");
    if (words(cell) !== words(fresh)) fresh.classList.add("hit");
    else if (cell.isEqualNode(fresh)) return;
    const focused = cell.contains(document.activeElement) ? [...cell.querySelectorAll("*")].indexOf(document.activeElement) : -1;
    for (const box of cell.querySelectorAll("input[type=checkbox]:checked")) {
      for (const other of fresh.querySelectorAll("input[type=checkbox]")) if (other.value === box.value) other.checked = true;
    }
    cell.replaceWith(fresh);
    if (focused >= 0) fresh.querySelectorAll("*")[focused]?.focus({ preventScroll: true });
  }

  // An age that ticks is no change.
  function words(cell) {
    const copy = cell.cloneNode(true);
    for (const time of copy.querySelectorAll("time[data-age]")) time.textContent = time.dateTime;
    return copy.textContent;
  }

  function lit(row) {
    row.classList.add("chg");
    clearTimeout(row.litTimer);
    row.litTimer = setTimeout(() => {
      row.classList.remove("chg");
      for (const cell of row.cells) cell.classList.remove("hit");
    }, HIT);
    return row;
  }

  portal.count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  // Lists that only tell that there is news: <div data-live-news="/address/?seen=…">. The address answers 204, or "3 updates".
  document.addEventListener("portal:changed", async () => {
    for (const element of document.querySelectorAll("[data-live-news]")) {
      const answer = await fetch(element.dataset.liveNews, { headers: { "HX-Request": "true" } }).catch(() => null);
      if (answer?.status !== 200) continue;
      const link = Object.assign(document.createElement("a"), { className: "pill", href: location.href });
      link.textContent = `${(await answer.text()).trim()}, show`;
      if (element.textContent === link.textContent) continue;
      element.classList.add("live-news");
      element.replaceChildren(link);
      portal.live.say(link.textContent);
    }
  });
}
