"use strict";

// Uploading: a list of files to look over, sent one by one with progress, then the review. Without this script the form posts them all.
(() => {
  const form = document.getElementById("upload-form");
  if (!form) return;
  const AT_ONCE = 3;
  const DIGEST_UP_TO = 16 * 1024 * 1024; // bytes
  const PASTED = "pasted.xml";
  const part = (name) => form.querySelector(`[data-${name}]`);
  const [section, list, bar, overall, trouble] = [document.getElementById("sending"), part("list"), part("bar"), part("overall"), part("trouble")];
  const [pasted, group] = [form.elements.pasted, form.elements.group];
  const most = { bytes: Number(form.dataset.mostBytes), together: Number(form.dataset.mostTogether), files: Number(form.dataset.mostFiles), pasted: Number(form.dataset.mostPasted) };
  const entries = [];
  let upload = null; // the addresses of its steps, once it has begun
  let beginning = null;
  let active = 0;
  let leaving = false;
  let positions = 0;

  const WORDS = { waiting: "Waiting", checking: "Checking", ready: "Ready", cancelled: "Cancelled" };
  const is = (...states) => (entry) => states.includes(entry.state);
  const going = is("waiting", "sending", "checking");

  function size(bytes) {
    if (bytes < 1024) return `${bytes} byte${bytes === 1 ? "" : "s"}`;
    return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
  }

  // The list

  function add(files) {
    const incoming = [...files].map((file) => (file instanceof File ? { file, name: file.webkitRelativePath || file.name } : file))
      .filter(({ name }) => !name.split("/").some((step) => step.startsWith(".")));
    for (const { file, name } of incoming) {
      const entry = { file, name, size: file.size, state: "chosen", said: problemOf(name, file), sent: 0 };
      if (entry.said) entry.state = "left-out";
      entries.push(entry);
      show(entry);
      if (entry.state === "chosen") compare(entry);
    }
    const over = entries.filter(is("chosen")).length - most.files;
    complain(over > 0 ? `${entries.filter(is("chosen")).length} files are chosen, and one upload takes ${most.files}. Remove ${over}.` : "");
    refresh();
  }

  function lookAgain() {
    if (upload || beginning) return; // it has begun with the group that was named then
    for (const entry of entries.filter(is("left-out"))) {
      const said = problemOf(entry.name, entry.file);
      update(entry, said ? "left-out" : "chosen", said);
      if (!said) compare(entry);
    }
    refresh();
  }

  function problemOf(name, file) {
    const isZip = /\.zip$/i.test(name);
    if (!isZip && !/\.xml$/i.test(name) && !group.value.trim()) return "Left out: neither .xml nor .zip; name a message group first to publish it as it is";
    if (!file.size) return "Left out: the file is empty";
    const limit = isZip ? most.together : most.bytes;
    if (file.size > limit) return `Left out: ${isZip ? "a zip" : "a document"} may have ${size(limit)}; split it`;
    if (entries.some((other) => other.name === name && other.size === file.size && other.state !== "left-out")) return "Left out: it is in the list already";
    return "";
  }

  async function compare(entry) {
    if (!crypto.subtle || entry.size > DIGEST_UP_TO) return;
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await entry.file.arrayBuffer()));
    entry.digest = bytes.join();
    const other = entries.find((each) => each !== entry && each.digest === entry.digest);
    if (other && entry.state === "chosen") update(entry, "chosen", `Same content as ${other.name}`);
  }

  function show(entry) {
    entry.row = part("row").content.firstElementChild.cloneNode(true);
    entry.row.querySelector(".name").textContent = entry.name;
    entry.row.querySelector(".size").textContent = size(entry.size);
    entry.row.querySelector("button").addEventListener("click", () => (going(entry) ? cancel(entry) : remove(entry)));
    list.append(entry.row);
    update(entry, entry.state, entry.said);
  }

  function update(entry, state, said = "") {
    entry.state = state;
    entry.said = said;
    const percent = entry.size ? Math.floor((entry.sent / entry.size) * 100) : 0;
    const words = state === "sending" ? `Sending ${percent} %` : state === "refused" ? `Refused (${said})` : state === "failed" ? `Failed (${said})` : said || WORDS[state] || "";
    entry.row.dataset.state = state;
    entry.row.querySelector(".state").textContent = words;
    const progress = entry.row.querySelector("progress");
    progress.hidden = !is("sending", "checking")(entry);
    progress.setAttribute("aria-label", `${entry.name} sent`);
    if (state === "checking") progress.removeAttribute("value");
    else progress.value = percent;
    const button = entry.row.querySelector("button");
    button.hidden = is("checking", "ready", "refused", "cancelled")(entry);
    button.setAttribute("aria-label", `${is("waiting", "sending")(entry) ? "Cancel" : "Remove"} ${entry.name}`);
  }

  function remove(entry) {
    const next = entry.row.nextElementSibling || entry.row.previousElementSibling;
    entries.splice(entries.indexOf(entry), 1);
    entry.row.remove();
    complain("");
    refresh();
    (next?.querySelector("button:not([hidden])") || form.querySelector("[data-choose]")).focus();
  }

  function refresh() {
    const sent = entries.filter((entry) => !is("left-out", "chosen", "cancelled")(entry));
    const isSending = entries.some(going);
    section.hidden = entries.length === 0;
    const done = sent.filter(is("ready", "refused"));
    const [bytes, all] = [sent.reduce((sum, entry) => sum + entry.sent, 0), sent.reduce((sum, entry) => sum + entry.size, 0)];
    const chosen = entries.filter(is("chosen"));
    const total = chosen.reduce((sum, entry) => sum + entry.size, 0);
    const [unit, name] = all < 1024 * 1024 ? [1024, "KB"] : [1024 * 1024, "MB"];
    overall.textContent = sent.length
      ? `${done.length} of ${sent.length} files, ${(bytes / unit).toFixed(1)} of ${(all / unit).toFixed(1)} ${name}`
      : `${chosen.length} to send, ${size(total)}`;
    bar.hidden = !sent.length;
    bar.max = Math.max(all, 1);
    bar.value = bytes;
    form.querySelector("[data-act=cancel-all]").hidden = !isSending;
    form.querySelector("[data-act=retry-failed]").hidden = isSending || !entries.some(is("failed"));
    form.querySelector("[data-act=remove-all]").hidden = isSending || sent.length > 0;
    const button = part("send");
    button.disabled = isSending || leaving;
    part("send-word").textContent = isSending ? "Sending" : chosen.length ? `Check ${chosen.length} file${chosen.length === 1 ? "" : "s"}` : "Check and review";
  }

  function complain(sentence) {
    trouble.textContent = sentence;
    trouble.hidden = !sentence;
  }

  // Sending

  function token() {
    return portal.session.cookie() || form.elements.csrfmiddlewaretoken.value;
  }

  async function ask(address, fields = {}) {
    const answer = await fetch(address, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { "X-CSRFToken": token(), "X-Requested-With": "XMLHttpRequest" },
    });
    if (answer.status === 401) signIn();
    if (!answer.ok) throw new Error(answer.status === 401 ? ENDED : await sentenceOf(answer.status, await answer.text()));
    return answer.headers.get("Content-Type")?.includes("json") ? answer.json() : null;
  }

  function signIn() {
    document.dispatchEvent(new CustomEvent("portal:signed-out"));
  }

  function sentenceOf(status, text) {
    return text && text.length < 500 && !text.includes("<") ? text : `The portal answered ${status}. Retry, or ask an administrator.`;
  }

  const ENDED = "Your session has ended. Sign in again, then retry.";
  const LOST = "The connection was lost; nothing that was sent is gone. Retry.";

  async function begin() {
    if (upload) return upload;
    beginning ??= ask(form.dataset.begin, { group: group.value.trim() }).then((steps) => (upload = steps)).finally(() => { beginning = null; });
    return beginning;
  }

  async function send() {
    complain("");
    const chosen = entries.filter(is("chosen"));
    if (chosen.length > most.files) return complain(`${chosen.length} files are chosen, and one upload takes ${most.files}. Remove some.`);
    for (const entry of chosen) {
      entry.position ??= ++positions;
      update(entry, "waiting");
    }
    refresh();
    try {
      await begin();
    } catch (error) {
      for (const entry of entries.filter(is("waiting"))) update(entry, "failed", error instanceof TypeError ? LOST : error.message);
      return refresh();
    }
    for (let free = AT_ONCE - active; free > 0; free -= 1) work();
  }

  async function work() {
    active += 1;
    for (let entry = entries.find(is("waiting")); entry; entry = entries.find(is("waiting"))) await sendOne(entry);
    active -= 1;
    if (!active) finish();
  }

  function sendOne(entry) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const end = (state, said) => {
        entry.sent = is("ready", "refused")({ state }) ? entry.size : 0;
        update(entry, state, said);
        refresh();
        resolve();
      };
      entry.request = request;
      request.open("POST", upload.files);
      request.setRequestHeader("X-CSRFToken", token());
      request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
      request.upload.addEventListener("progress", (event) => {
        entry.sent = Math.min(event.loaded, entry.size);
        update(entry, "sending");
        refresh();
      });
      request.upload.addEventListener("load", () => { entry.sent = entry.size; update(entry, "checking"); refresh(); });
      request.addEventListener("load", () => end(...outcomeOf(request)));
      request.addEventListener("error", () => end("failed", LOST));
      request.addEventListener("abort", () => end("cancelled"));
      update(entry, "sending");
      const data = new FormData();
      data.append("position", entry.position);
      if (entry.text !== undefined) data.append("pasted", entry.text);
      else {
        data.append("name", entry.name);
        data.append("file", entry.file, entry.name.split("/").pop());
      }
      request.send(data);
    });
  }

  function outcomeOf(request) {
    if (request.status === 401) {
      signIn();
      return ["failed", ENDED];
    }
    if (request.status >= 400) return ["failed", sentenceOf(request.status, request.responseText)];
    let told;
    try {
      told = JSON.parse(request.responseText);
    } catch {
      return ["failed", "The portal's answer could not be read. Retry."];
    }
    if (told.refused && !told.messages) return ["refused", told.reasons[0]];
    const files = told.files > 1 ? `${told.files} files, ` : "";
    const refused = told.refused ? `, ${told.refused} refused` : "";
    return ["ready", `Ready: ${files}${told.messages} message${told.messages === 1 ? "" : "s"}${refused}`];
  }

  async function finish() {
    refresh();
    const stored = entries.filter(is("ready", "refused")).length;
    const failed = entries.filter(is("failed")).length;
    if (failed) {
      portal.announce(`${failed} file${failed === 1 ? "" : "s"} could not be sent.`);
      complain(`${failed} of ${entries.length} files could not be sent. Retry them, or review the others.`);
      return review(stored > 0);
    }
    if (!stored) return upload && ask(upload.decide, { choice: "none" }).then(() => { upload = null; }, () => {});
    leaving = true;
    refresh();
    part("send-word").textContent = "Rehearsing";
    try {
      await ask(upload.check);
      location.assign(upload.page);
    } catch (error) {
      leaving = false;
      complain(`The messages could not be rehearsed: ${error instanceof TypeError ? LOST : error.message}`);
      review(true);
      refresh();
    }
  }

  function review(isThere) {
    const link = part("review");
    link.hidden = !isThere;
    if (upload) link.href = upload.page;
  }

  function cancel(entry) {
    if (entry.state === "sending") entry.request.abort();
    else update(entry, "cancelled");
    refresh();
  }

  function retry(which) {
    for (const entry of entries.filter(is("failed")).filter(which)) update(entry, "chosen");
    send();
  }
  document.addEventListener("portal:signed-in", () => {
    if (entries.some((entry) => entry.state === "failed" && entry.said === ENDED)) retry((entry) => entry.said === ENDED);
  });

  // Folders that are dropped

  async function dropped(transfer) {
    const found = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!found.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
    return (await Promise.all(found.map((entry) => within(entry)))).flat();
  }
  async function within(entry, folder = "") {
    if (entry.isFile) return [{ file: await new Promise((take, fail) => entry.file(take, fail)), name: folder + entry.name }];
    const reader = entry.createReader();
    const inside = [];
    for (let some; (some = await new Promise((take, fail) => reader.readEntries(take, fail))).length;) inside.push(...some);
    const files = await Promise.all(inside.map((each) => within(each, `${folder}${entry.name}/`)));
    return files.flat().sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  // What people do

  for (const input of form.querySelectorAll("input[type=file]")) {
    const take = () => {
      const files = [...input.files];
      if (input.webkitdirectory) files.sort((one, other) => (one.webkitRelativePath < other.webkitRelativePath ? -1 : 1));
      input.value = "";
      add(files);
    };
    input.addEventListener("change", take);
    if (input.files.length) take(); // chosen before this script had come
  }
  form.querySelector("#id_xml_files").classList.add("vh");
  form.querySelector("#id_xml_files").tabIndex = -1;
  for (const shown of form.querySelectorAll(".js")) shown.hidden = false;
  const area = part("drop");
  group.addEventListener("input", lookAgain);

  area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", async (event) => {
    event.preventDefault();
    area.classList.remove("over");
    add(await dropped(event.dataTransfer));
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-choose], button[data-act]");
    if (!button) return;
    if (button.dataset.choose) document.getElementById(button.dataset.choose).click();
    if (button.dataset.act === "cancel-all") entries.filter(is("waiting", "sending")).reverse().forEach(cancel);
    if (button.dataset.act === "remove-all") { entries.splice(0); list.replaceChildren(); complain(""); refresh(); }
    if (button.dataset.act === "retry-failed") retry(() => true);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const isBad = group.validity.patternMismatch;
    group.setAttribute("aria-invalid", String(isBad));
    if (isBad) {
      group.focus();
      return complain(`The message group can't be used. ${form.dataset.groupAllowed}`);
    }
    if (pasted.value.trim()) {
      const text = pasted.value;
      const bytes = new Blob([text]).size;
      if (bytes > most.pasted) {
        return complain(`The pasted text has ${size(bytes)}, and ${size(most.pasted)} may be pasted. Save it as a file and choose that.`);
      }
      const entry = { name: PASTED, text, size: bytes, state: "chosen", said: "", sent: 0 };
      entries.push(entry);
      show(entry);
      pasted.value = "";
    }
    if (entries.some(is("chosen"))) send();
    else if (upload && entries.some(is("ready"))) finish();
    else if (entries.every(is("left-out", "cancelled"))) {
      complain(form.dataset.nothing);
      (pasted.offsetParent ? pasted : part("choose")).focus();
    }
  });
  addEventListener("beforeunload", (event) => {
    if (entries.some(going) && !leaving) event.preventDefault();
  });

  // Files and pasted text beside each other, as tabs

  const tabs = [...form.querySelectorAll("[role=tab]")];
  function open(tab) {
    for (const each of tabs) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
      document.getElementById(each.getAttribute("aria-controls")).hidden = each !== tab;
    }
  }
  form.querySelector("[role=tablist]").hidden = false;
  for (const tab of tabs) {
    const pane = document.getElementById(tab.getAttribute("aria-controls"));
    pane.setAttribute("role", "tabpanel");
    pane.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const next = tabs[(tabs.indexOf(tab) + 1) % tabs.length];
      open(next);
      next.focus();
    });
  }
  open(pasted.value || form.querySelector("#pasted-error") ? tabs[1] : tabs[0]);
})();
