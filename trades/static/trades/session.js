"use strict";

// The end of a session: a dialog in the page instead of another page, so that nothing typed is lost.
// Forms with text (or marked data-keeps) ask first whether the session still holds. After signing in, what was under way goes on.
{
  const template = document.getElementById("sign-in-again");
  let dialog = null;
  let goOn = [];
  let token = "";

  const PAUSE = 1500; // ms without a key: a dialog that opens in the middle of a word would take the rest of it
  let typedAt = -PAUSE;
  document.addEventListener("input", () => { typedAt = performance.now(); }, { capture: true });

  portal.session = { signInAgain, holds, cookie };

  // What the page does of itself finds out that the session has ended: wait until nobody types.
  function whenIdle() {
    const wait = typedAt + PAUSE - performance.now();
    if (wait > 0) setTimeout(whenIdle, wait);
    else signInAgain();
  }

  function signInAgain(then) {
    if (!template) return;
    if (then) goOn.push(then);
    if (dialog?.open) return;
    if (!dialog) {
      dialog = template.content.firstElementChild.cloneNode(true);
      document.body.append(dialog);
      dialog.querySelector("form").addEventListener("submit", submit);
      dialog.addEventListener("close", () => { goOn = []; });
    }
    dialog.querySelector("[role=alert]").hidden = true;
    dialog.showModal();
    dialog.querySelector("[name=password]").focus();
  }

  // Whether the session still holds. Somebody else's does not count: the page is then not theirs.
  async function holds() {
    const answer = await fetch("/session/", { headers: { "X-Requested-With": "fetch" } });
    if (answer.status === 401) {
      token = (await answer.json()).token;
      return false;
    }
    const name = decodeURIComponent(answer.headers.get("X-Signed-In") || "");
    if (name && name !== document.body.dataset.user) location.reload();
    renew(answer.headers.get("X-CSRF-Token"));
    return true;
  }

  // The token for forms as the browser's cookie has it at this moment.
  function cookie() {
    const found = document.cookie.split("; ").find((each) => each.startsWith("csrftoken="));
    return found ? found.slice("csrftoken=".length) : "";
  }

  // Signing in again changes the cookie first and the forms a little later: what the page sends meanwhile takes that of the cookie.
  document.addEventListener("htmx:configRequest", (event) => {
    const fields = event.detail.formData;
    if (cookie() && fields.has("csrfmiddlewaretoken")) fields.set("csrfmiddlewaretoken", cookie());
  });

  // The token that goes with the browser's cookie just now, in every form.
  function renew(fresh) {
    if (!fresh) return;
    for (const input of document.querySelectorAll("input[name=csrfmiddlewaretoken]")) input.value = fresh;
  }

  async function submit(event) {
    event.preventDefault();
    const form = event.target;
    const button = form.querySelector(".pri");
    button.disabled = true;
    try {
      if (!token) await holds();
      const data = new URLSearchParams(new FormData(form));
      const answer = await fetch("/session/", { method: "POST", body: data, headers: { "X-CSRFToken": token, "X-Requested-With": "fetch" } });
      const isJson = (answer.headers.get("Content-Type") || "").startsWith("application/json");
      const said = isJson ? await answer.json() : { error: await answer.text() };
      if (answer.ok) await signedIn(said);
      else refuse(form, said.error);
    } catch {
      refuse(form, "The portal does not answer. Check the connection and try again.");
    } finally {
      button.disabled = false;
    }
  }

  function refuse(form, sentence) {
    const alert = form.querySelector("[role=alert]");
    alert.textContent = sentence;
    alert.hidden = false;
    form.querySelector("[name=password]").focus();
    token = "";
  }

  async function signedIn({ user, token: fresh }) {
    if (user !== document.body.dataset.user) return location.reload();
    renew(fresh);
    token = "";
    dialog.querySelector("[name=password]").value = "";
    const then = goOn;
    goOn = [];
    dialog.close();
    announce("You are signed in again.");
    document.dispatchEvent(new CustomEvent("portal:signed-in"));
    // An answer that was on its way meanwhile may have brought an older cookie.
    await holds().catch(() => true);
    for (const next of then) next();
  }

  // A form with text in it is sent only while the session holds.
  const KEEPS = "form[data-keeps], form[method=post]:has(textarea)";
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches(KEEPS) || form.dataset.sure) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const { submitter } = event;
    const send = () => {
      form.dataset.sure = "yes";
      try {
        form.requestSubmit(submitter);
      } finally {
        delete form.dataset.sure;
      }
    };
    // Without an answer the form is sent as if nothing had been asked: the browser says what is wrong.
    const isIn = await holds().catch(() => true);
    if (isIn) send();
    else signInAgain(send);
  }, { capture: true });

  // Parts of the page, and the live stream.
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr, requestConfig, target } = event.detail;
    if (xhr.status !== 401) return;
    const { elt: source, verb, path } = requestConfig;
    if (isRefresh(source)) whenIdle();
    else signInAgain(() => htmx.ajax(verb, path, { source, target }));
  });
  document.addEventListener("portal:signed-out", whenIdle);
}
