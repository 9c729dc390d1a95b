"use strict";

// The blotter with a script: rows that keep themselves current, keys, ticking, the preview, filters while typing. It works without.
{
  const main = document.getElementById("main");
  const tbody = () => document.getElementById("rows");
  const rows = () => Array.from(tbody().querySelectorAll("tr[id]"));
  const filters = document.getElementById("filters");
  document.body.classList.add("scripted");

  // Addresses: what was typed meanwhile counts, and nothing that is empty is stated.
  function addressed(change) {
    const params = new URLSearchParams(location.search);
    for (const key of ["after", "before", "choose", "find"]) params.delete(key);
    change(params);
    return `?${params}`;
  }
  for (const form of document.querySelectorAll("#filters, #columns form")) form.addEventListener("submit", tidy);
  main.addEventListener("submit", (event) => { if (event.target.matches("#columns form")) tidy(event); });
  function tidy(event) {
    const fields = Array.from(event.target.elements).filter((field) => field.name && (field.name === "find" || (!field.value && field.name !== "form")));
    for (const field of fields) field.disabled = true;
    setTimeout(() => { for (const field of fields) field.disabled = false; });
  }
  // The links and forms around the list were made for the text that the page came with; what was typed since counts.
  function withText(query) {
    const params = new URLSearchParams(query), asked = new URLSearchParams(location.search).get("q");
    if (asked === null) params.delete("q");
    else params.set("q", asked);
    return params;
  }
  main.addEventListener("submit", (event) => {
    const form = event.target, kept = form.querySelector("input[name=query]");
    if (kept) {
      const params = new URLSearchParams(kept.value);
      if (text.value.trim()) params.set("q", text.value.trim());
      else params.delete("q");
      kept.value = params;
    }
    if (!form.matches("#columns form")) return;
    for (const field of form.querySelectorAll("input[name=q]")) field.remove();
    const asked = withText("").get("q");
    if (asked !== null) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "q", value: asked }));
  });
  main.addEventListener("click", (event) => {
    const own = event.target.closest(".filters a[href^='?']");
    if (own) own.search = withText(own.search);
    const drop = event.target.closest("a[data-drop], a[data-choose]");
    if (drop && !event.ctrlKey && !event.metaKey && !event.shiftKey && !new URLSearchParams(location.search).has("view")) {
      event.preventDefault();
      location.search = addressed((params) => {
        if (drop.dataset.drop) params.delete(drop.dataset.drop);
        else params.set("choose", drop.dataset.choose);
      });
    }
    if (event.target.closest("[data-save-as]")) {
      setTimeout(() => {
        document.getElementById("keep").open = true;
        document.getElementById("view-name").focus();
      });
    }
    const none = event.target.closest("[data-none]");
    if (none) for (const box of none.closest(".menu").querySelectorAll("input[type=checkbox]")) box.checked = false;
    if (event.target.closest("a[data-export]")) {
      const link = event.target.closest("a");
      const all = new URL(link.href).searchParams.get("columns");
      link.search = addressed((params) => { if (all) params.set("columns", all); });
    }
  });

  // On a narrow screen the filters that are not in use are behind one button.
  document.getElementById("unfold").addEventListener("click", (event) => {
    event.currentTarget.setAttribute("aria-expanded", String(filters.classList.toggle("unfolded")));
  });

  // The text filters while it is typed; the address follows without an entry in the history.
  const text = document.getElementById("filter-text");
  let typing = 0, isAsking = false;
  text.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(ask, 250);
  });
  // One after the other: htmx drops what is asked for a list that an answer replaces meanwhile.
  async function ask() {
    if (isAsking) return;
    isAsking = true;
    let sought;
    do {
      sought = text.value;
      const address = addressed((params) => { if (text.value.trim()) params.set("q", text.value.trim()); else if (params.has("view")) params.set("q", ""); else params.delete("q"); });
      await htmx.ajax("GET", location.pathname + address, { source: "#results", target: "#results", select: "#results", swap: "outerHTML" }).catch(() => {});
      history.replaceState(null, "", address);
      said();
    } while (text.value !== sought);
    isAsking = false;
  }
  function said() {
    const foot = document.querySelector("#foot .tnum");
    if (foot) portal.announce(foot.textContent.trim());
    counted();
  }
  window.addEventListener("pageshow", () => {
    const asked = new URLSearchParams(location.search).get("q");
    if (asked !== null && text.value !== asked) text.value = asked;
    counted();
  });

  // Live: the rows that changed come in place or wait behind a pill; figures and counts are always put right.
  document.addEventListener("htmx:configRequest", (event) => {
    // The address says it all; htmx would add the fields of the form that the list is in, as they were when it came.
    if (event.target.id === "results") for (const key of Array.from(event.detail.formData.keys())) event.detail.formData.delete(key);
    if (event.target.id !== "rows") return;
    const shown = rows().map((row) => `${row.id}.${row.dataset.v}`);
    event.detail.headers["X-Shown"] = [event.target.dataset.version, ...shown].join(" ");
    event.detail.headers["X-Columns"] = event.target.dataset.columns;
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const isRefresh = event.target.id === "rows";
    if (isRefresh && portal.live?.paused && !event.detail.requestConfig.triggeringEvent?.detail?.asked) return void event.preventDefault();
    if (isRefresh || event.target.id === "results") slow(true);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target.id !== "rows" && event.target.id !== "results") return;
    slow(false);
    if (event.detail.successful) {
      failed(false);
      if (event.target.id === "rows" && event.detail.xhr.status === 200) take(event.detail.xhr.responseText);
    } else if (event.detail.xhr.status !== 401) {
      failed(true, event.detail.xhr.getResponseHeader("X-Request-ID"));
    }
  });
  let slowly = 0;
  function slow(on) {
    clearTimeout(slowly);
    const box = document.querySelector(".tblwrap");
    if (on) slowly = setTimeout(() => box.classList.add("slow"), 400);
    else box.classList.remove("slow");
  }

  function take(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.querySelector("tbody");
    const changed = fresh.rows.length;
    for (const part of template.content.querySelectorAll("#strip [id], #views [id]")) patch(part);
    const old = tbody();
    const isStill = "still" in old.dataset || !preview.hidden;
    const order = fresh.dataset.order.trim().split(" ").filter(Boolean);
    const same = order.length === rows().length && rows().every((row, at) => row.id === order[at]);
    if (!changed && same) {
      old.dataset.version = fresh.dataset.version;
      return;
    }
    if (!order.length || !portal.rows) {
      old.replaceChildren(...fresh.rows);
      placed();
    } else {
      foot = template.content.querySelector("#foot");
      version = fresh.dataset.version;
      portal.rows(old, fresh.outerHTML, { still: isStill });
    }
    if (changed) portal.live?.say?.(`${changed} ${changed === 1 ? "trade" : "trades"} updated`);
  }
  let foot = null, version = "";
  function patch(part) {
    const old = document.getElementById(part.id);
    if (!old || (old.textContent === part.textContent && old.className === part.className)) return;
    old.textContent = part.textContent;
    old.className = part.className;
  }
  function placed() {
    for (const row of Array.from(tbody().rows)) if (!row.id && tbody().rows.length > 1) row.remove();
    if (foot && !document.getElementById("foot").contains(document.activeElement)) document.getElementById("foot").replaceWith(foot);
    if (version) tbody().dataset.version = version;
    foot = null;
    counted();
    mark(current());
  }
  document.addEventListener("portal:placed", (event) => { if (event.target.id === "rows") placed(); });

  // After a failure the rows stay, and the page says when it asks again.
  const notice = document.getElementById("refresh-failed");
  let again = 0;
  function failed(on, requestId) {
    clearInterval(again);
    document.getElementById("results").classList.toggle("failed", on);
    notice.hidden = !on;
    if (!on) return;
    const at = new Date().toISOString().slice(11, 19);
    let left = 5;
    const tell = () => {
      notice.querySelector("span").textContent = `Could not refresh at ${at} UTC. Retrying in ${left} s.${requestId ? ` Request ${requestId}.` : ""}`;
      if (left-- <= 0) retry();
    };
    tell();
    again = setInterval(tell, 1000);
  }
  function retry() {
    clearInterval(again);
    htmx.trigger(tbody(), "refresh", { asked: true });
  }
  notice.querySelector("button").addEventListener("click", retry);

  // The pause button says what the chip in the top bar says.
  const pause = document.getElementById("pause");
  if (portal.live && tbody().hasAttribute("data-live")) {
    pause.addEventListener("click", (event) => {
      event.preventDefault();
      if (portal.live.paused) portal.live.resume();
      else portal.live.pause();
    });
    portal.live.onstate(() => {
      const word = portal.live.paused ? "Resume" : "Pause";
      if (pause.querySelector("span").textContent !== word) pause.querySelector("span").textContent = word;
    });
  }
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.("details.drop-down, [popover]")) return;
    const isOpen = document.querySelector("details.drop-down[open], [popover]:popover-open");
    if (isOpen) portal.live?.hold("menu");
    else portal.live?.release("menu");
  }, true);

  // The row that the keys are at: the one that has the focus, else the one that had it last.
  let at = "";
  const current = () => document.activeElement?.closest?.("#rows tr[id]") || document.getElementById(at);
  function mark(row) {
    for (const other of tbody().querySelectorAll("tr.on")) if (other !== row) other.classList.remove("on");
    if (!row) return;
    at = row.id;
    row.classList.add("on");
  }
  main.addEventListener("focusin", (event) => {
    const row = event.target.closest("#rows tr[id]");
    if (row) mark(row);
  });
  // A link does nothing on Space, so it is free for the preview.
  main.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || !event.target.matches("#rows a.id") || (portal.keys && !portal.keys.isOn())) return;
    event.preventDefault();
    toggle(event.target.closest("tr"));
  });
  function toggle(row) {
    if (!row) return false;
    if (preview.hidden) show(row);
    else hide();
    return true;
  }
  function move(by) {
    const all = rows();
    if (!all.length) return;
    const index = all.indexOf(current());
    const next = all[Math.min(all.length - 1, Math.max(0, index < 0 ? (by > 0 ? 0 : all.length - 1) : index + by))];
    next.querySelector("a.id").focus({ preventScroll: true });
    next.cells[0].scrollIntoView({ block: "nearest" });
    mark(next);
    if (!preview.hidden) show(next);
  }

  // Ticked rows.
  const ticks = () => Array.from(tbody().querySelectorAll("input[name=t]"));
  let lastTick = null;
  function counted() {
    const all = ticks(), ticked = all.filter((tick) => tick.checked);
    const everything = document.getElementById("tick-all");
    everything.hidden = !all.length;
    everything.checked = ticked.length > 0 && ticked.length === all.length;
    everything.indeterminate = ticked.length > 0 && !everything.checked;
    document.querySelector("[data-ticked-count]").textContent = `${ticked.length} ticked`;
    document.getElementById("copy-ids").hidden = !navigator.clipboard;
    if (ticked.length) portal.live?.hold("ticked");
    else portal.live?.release("ticked");
  }
  main.addEventListener("change", (event) => {
    if (event.target.id === "tick-all") for (const tick of ticks()) tick.checked = event.target.checked;
    if (event.target.name === "t" || event.target.id === "tick-all") counted();
  });
  main.addEventListener("click", (event) => {
    if (event.target.name === "t") {
      if (event.shiftKey) range(event.target.closest("tr"), event.target.checked);
      lastTick = event.target.closest("tr").id;
    }
  });
  main.addEventListener("reset", () => setTimeout(counted));
  function range(to, on) {
    const all = rows(), ends = [all.findIndex((row) => row.id === lastTick), all.indexOf(to)].sort((a, b) => a - b);
    for (const row of all.slice(Math.max(0, ends[0]), ends[1] + 1)) row.querySelector("input[name=t]").checked = on;
    counted();
  }
  function tick(isRange) {
    const row = current();
    if (!row) return false;
    const box = row.querySelector("input[name=t]");
    if (isRange && lastTick) range(row, true);
    else box.checked = !box.checked;
    lastTick = row.id;
    counted();
    return true;
  }
  main.addEventListener("click", (event) => {
    if (event.target.id === "copy-ids") {
      const ids = ticks().filter((each) => each.checked).map((each) => each.closest("tr").querySelector("a.id").textContent);
      portal.copy(ids.join("\n"), ids.length > 1 ? `${ids.length} ids copied.` : "");
    }
  });

  // The preview: beside the list where there is room, else the trade itself.
  const preview = document.getElementById("preview");
  let asked = 0;
  async function show(row) {
    if (!row) return false;
    const link = row.querySelector("a.id");
    if (window.innerWidth < 1024) {
      link.click();
      return true;
    }
    const mine = ++asked;
    const answer = await fetch(`/trades/preview/${row.id.slice(1)}/`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (mine !== asked) return true;
    if (answer?.status === 401) return void portal.session?.signInAgain(() => show(row));
    if (!answer?.ok) return void portal.toast?.("The preview could not be loaded. Try again, or open the trade.", { error: true });
    preview.innerHTML = await answer.text();
    preview.hidden = false;
    preview.querySelector("[data-close]").hidden = false;
    preview.setAttribute("aria-label", `Preview of ${link.textContent}`);
    portal.announce(`Preview of ${link.textContent}`);
    portal.live?.hold("preview");
    return true;
  }
  function hide() {
    if (preview.hidden) return false;
    asked++;
    const had = preview.contains(document.activeElement);
    preview.hidden = true;
    preview.replaceChildren();
    portal.live?.release("preview");
    if (had) current()?.querySelector("a.id").focus();
    return true;
  }
  preview.addEventListener("click", (event) => { if (event.target.closest("[data-close]")) hide(); });

  // Titles: the whole of what is cut, and times in UTC and of this place.
  const full = (zone) => new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: zone });
  main.addEventListener("mouseover", (event) => {
    const time = event.target.closest("#rows time");
    if (time && !time.title) {
      const moment = new Date(time.dateTime);
      time.title = `${full("UTC").format(moment).replace(",", "")} UTC, here ${full().format(moment).replace(",", "")}`;
    }
    const cell = event.target.closest("#rows td, .kpi .d");
    if (!cell || cell.title) return;
    const told = cell.querySelector(".vh");
    if (told && cell.querySelector("svg")) cell.title = told.textContent.replace(/[,:] $/, "");
    else if (cell.scrollWidth > cell.clientWidth) cell.title = cell.textContent.trim();
  });

  // Density: at once; the server keeps it.
  main.addEventListener("submit", async (event) => {
    const form = event.target.closest("[data-density-form]");
    if (!form) return;
    event.preventDefault();
    const data = new FormData(form, event.submitter), chosen = data.get("density");
    document.body.dataset.density = chosen;
    event.submitter.value = chosen === "regular" ? "compact" : "regular";
    event.submitter.setAttribute("aria-label", chosen === "regular" ? "Compact rows" : "Taller rows");
    await fetch(form.action, { method: "POST", body: data, redirect: "manual" });
  });

  if (portal.keys) {
    const add = (key, does, run) => portal.keys.add({ key, does, run, group: "This page" });
    add("j", "Next row", () => move(1));
    add("k", "Previous row", () => move(-1));
    add("Enter", "Open the trade", () => { const row = current(); if (!row) return false; row.querySelector("a.id").click(); });
    add("Space", "Preview", () => toggle(current()));
    add("x", "Tick the row", () => tick(false));
    add("X", "Tick up to the row", () => tick(true));
    add("f", "Filter by text", () => { text.focus(); text.select(); });
    add("c", "Choose columns", () => {
      const menu = document.getElementById("columns");
      menu.open = !menu.open;
      menu.querySelector("summary").focus();
    });
    add("y", "Copy the trade's id", () => {
      const row = current();
      if (!row || !navigator.clipboard) return false;
      portal.copy(row.querySelector("a.id").textContent);
    });
    // The last one that does something wins: the preview closes first, then the ticks go.
    add("Escape", "Close the preview, then clear ticks", () => {
      if (hide()) return true;
      if (!ticks().some((each) => each.checked)) return false;
      for (const each of ticks()) each.checked = false;
      counted();
      return true;
    });
  }
  counted();
}
