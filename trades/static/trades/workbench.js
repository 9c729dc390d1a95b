"use strict";

// The editor of the quarantine workbench with a script: line numbers, the caret, unsaved text. It works without.

// The editor: numbers beside the lines, and links that put the caret where something is wrong.
const editor = document.querySelector("textarea[data-draft]");
if (editor) {
  const gutter = editor.parentElement.querySelector(".gutter");
  let numbered = 0;
  const number = () => {
    const lines = editor.value.split("\n").length;
    if (lines !== numbered) gutter.textContent = Array.from({ length: lines }, (_, index) => index + 1).join("\n");
    numbered = lines;
  };
  const follow = () => { gutter.scrollTop = editor.scrollTop; };
  gutter.hidden = false;
  editor.addEventListener("input", number);
  editor.addEventListener("scroll", follow);
  number();

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-line]");
    if (!link) return;
    event.preventDefault();
    const lines = editor.value.split("\n");
    const line = Math.min(Number(link.dataset.line), lines.length);
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    const at = start + Math.min(Number(link.dataset.column) - 1, lines[line - 1].length);
    editor.focus();
    editor.setSelectionRange(at, at);
    editor.scrollTop = Math.max(0, (line - 5) * parseFloat(getComputedStyle(editor).lineHeight));
    follow();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "result") editor.setAttribute("aria-invalid", String(Boolean(event.target.querySelector(".notice.bad"))));
  });
  for (const name of ["htmx:sendError", "htmx:responseError"]) {
    document.addEventListener(name, () => {
      document.getElementById("result").textContent = "The check did not answer. Your text is kept; check it again in a moment.";
    });
  }
}

// Unsaved text: kept in this browser from the first change until the correction is recorded.
const draftKey = (id) => `draft-of-message-${id}`;
function readDraft(id) {
  try {
    return JSON.parse(localStorage.getItem(draftKey(id)));
  } catch {
    return null;
  }
}
function writeDraft(id, text) {
  try {
    if (text === null) localStorage.removeItem(draftKey(id));
    else localStorage.setItem(draftKey(id), JSON.stringify({ text, at: new Date().toISOString() }));
  } catch { /* no room, or not allowed: the text is then in the page alone */ }
}
const done = document.querySelector("[data-draft-done]");
if (done) writeDraft(done.dataset.draftDone, null);
if (editor) {
  const id = editor.dataset.draft;
  const offer = document.querySelector("[data-draft-offer]");
  const draft = readDraft(id);
  if (draft && draft.text !== editor.value) {
    const time = offer.querySelector("time");
    time.dateTime = draft.at;
    time.textContent = `${draft.at.slice(0, 10)} ${draft.at.slice(11, 19)} UTC`;
    offer.hidden = false;
  }
  offer.querySelector("[data-draft-restore]").addEventListener("click", () => {
    editor.value = draft.text;
    offer.hidden = true;
    editor.focus();
    editor.dispatchEvent(new Event("input", { bubbles: true }));
  });
  offer.querySelector("[data-draft-forget]").addEventListener("click", () => {
    writeDraft(id, null);
    offer.hidden = true;
    editor.focus();
  });
  let saving = 0;
  const save = () => {
    clearTimeout(saving);
    saving = 0;
    writeDraft(id, editor.value);
  };
  editor.addEventListener("input", () => { saving ||= setTimeout(save, 300); });
  window.addEventListener("pagehide", () => { if (saving) save(); });
}
