"use strict";

// The trace keeps itself current: focus stays where it was, and a new answer is told.
{
  let focused = "";
  let told = "";
  const answer = () => document.querySelector("#trace .answer")?.textContent ?? "";

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.id !== "trace") return;
    focused = event.target.contains(document.activeElement) ? document.activeElement.id : "";
    told = answer();
  });
  // Copy buttons are hidden until portal.js has looked at them, which it does before this.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "trace") return;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    focused = "";
    if (answer() !== told) window.portal?.announce?.(answer());
  });
}
