// Keeps a page fresh. Without this file every page works the same, by loading it again.
"use strict";

const main = () => document.getElementById("main");

let asked = 0;
let shown = 0;
async function refresh() {
  const url = location.href;
  const number = ++asked;
  let text;
  try {
    const headers = { Accept: "text/html" };
    const answer = await fetch(url, { headers, credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    text = await answer.text();
  } catch {
    return; // the service is away, or the page is being left; the next event asks again
  }
  // Answers may overtake each other; an older one, or one to another question, is no news.
  if (number < shown || url !== location.href) return;
  shown = number;
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("main");
  if (!fresh) return;
  const busy = main().contains(document.activeElement) &&
    document.activeElement.matches("input, select, textarea");
  const found = document.getElementById("found");
  if (busy && found && fresh.querySelector("#found")) {
    found.replaceWith(fresh.querySelector("#found"));
  } else if (!busy) {
    const open = [...main().querySelectorAll("details")].map((one) => one.open);
    const focus = document.activeElement?.getAttribute?.("href");
    main().replaceChildren(...fresh.childNodes);
    const details = [...main().querySelectorAll("details")];
    if (details.length === open.length) details.forEach((one, i) => { one.open = open[i]; });
    if (focus) main().querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus();
  }
}

let waiting;
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, 150);
}

function listen() {
  const events = new EventSource("/api/v1/events");
  const mark = document.getElementById("live");
  events.addEventListener("open", () => { mark.hidden = false; soon(); });
  events.addEventListener("changed", soon);
  events.addEventListener("error", () => { mark.hidden = true; });
  addEventListener("pagehide", () => events.close());
}

function filter() {
  let typing;
  document.addEventListener("input", (event) => {
    const form = event.target.closest("#filter");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      const url = `${form.action}?${new URLSearchParams(new FormData(form))}`;
      history.replaceState(null, "", url);
      refresh();
    }, 120);
  });
}

function theme() {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const saved = localStorage.getItem("theme");
  if (saved) root.dataset.theme = saved;
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

function keys() {
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey) return;
    if (event.key !== "/") return;
    event.preventDefault();
    const search = document.querySelector("#filter input");
    if (search) search.focus(); else location.href = "/resources";
  });
}

theme();
keys();
filter();
if (!location.pathname.startsWith("/signin")) listen();
