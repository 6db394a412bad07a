"use strict";

// -- the answer's panel -----------------------------------------------------------------------------------------------

const SHOWN = ["content-type", "retry-after", "x-spout"];

function panel(form) {
  const answer = form.closest(".live").querySelector(".answer");
  const part = (name) => answer.querySelector(`.${name}`);
  return {
    begin() {
      answer.hidden = false;
      part("status").textContent = part("headers").textContent = part("ran").textContent = "";
      part("body").textContent = "";
    },
    head(status, headers) {
      part("status").textContent = status;
      part("status").classList.toggle("bad", !/^([123]\d\d|open|connected)/.test(status));
      part("headers").textContent = headers;
    },
    body(text) { part("body").textContent = text; },
    line(text) {
      part("body").append(`${text}\n`);
      part("body").scrollTop = part("body").scrollHeight;
    },
    ran(header, whole) {
      const pieces = [];
      if (header) {
        const { where, thread, process, ms } = JSON.parse(header);
        const place = document.createElement("b");
        place.dataset.where = where;
        place.textContent = { loop: "event loop", thread: "thread", process: "another process" }[where];
        const named = where === "process" ? "" : `${thread}, `;
        pieces.push(place, `${named}process ${process}`, `${ms.toFixed(2)} ms in the handler`);
      }
      pieces.push(`${whole.toFixed(whole < 100 ? 1 : 0)} ms there and back`);
      part("ran").replaceChildren(...pieces.map((piece) => {
        const item = document.createElement("span");
        item.append(piece);
        return item;
      }));
    },
  };
}

const pretty = (text, type) => {
  if (!/json/.test(type)) return text;
  try {
    const lines = JSON.stringify(JSON.parse(text), null, 2);
    // Lists of plain values take one line.
    return lines.replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, items) => `[${items.replace(/\s*\n\s*/g, " ")}]`);
  } catch {
    return text;
  }
};

function headersOf(answer, more) {
  const names = [...SHOWN, ...more].filter((name) => answer.headers.has(name));
  const found = names.map((name) => `${name}: ${answer.headers.get(name)}`);
  if (answer.redirected) found.unshift(`redirected to ${new URL(answer.url).pathname}`);
  return found.join("\n");
}

/** Ask and show the answer, chunk by chunk as it comes. Return its status and text. Ends what the form asked before. */
async function ask(form, path, options) {
  const show = panel(form), begun = performance.now(), asking = new AbortController();
  form.asking?.abort();
  form.asking = asking;
  show.begin();
  try {
    const headers = { Accept: "application/json", ...options.headers };
    const answer = await fetch(path, { ...options, signal: asking.signal, headers });
    const more = form.closest("section").id === "middleware" ? ["x-tour"] : [];
    show.head(`${answer.status} ${answer.statusText}`.trim(), headersOf(answer, more));
    const type = answer.headers.get("content-type") ?? "", decoder = new TextDecoder();
    let text = "";
    for (let reader = answer.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      show.body(text);
    }
    show.body(pretty(text, type));
    show.ran(answer.headers.get("x-ran"), performance.now() - begun);
    return { status: answer.status, text };
  } catch (error) {
    if (!asking.signal.aborted) show.head("no answer", String(error));
    return { status: 0, text: "" };
  }
}

// -- what can be asked, by the form's kind ----------------------------------------------------------------------------

const kinds = {
  request(form) {
    const { path, body } = form.elements, method = form.querySelector(".method");
    const tries = [...form.closest(".live").querySelectorAll(".tries button")];
    const choose = (button) => {
      for (const other of tries) other.ariaPressed = String(other === button);
      method.textContent = button.dataset.method;
      path.value = button.dataset.path;
      body.value = button.dataset.body;
      body.hidden = !button.dataset.body;
    };
    for (const button of tries) {
      button.onclick = () => { choose(button); form.requestSubmit(); };
    }
    choose(tries[0]);
    form.whenSeen = () => { if (method.textContent === "GET") form.requestSubmit(); };
    return () => {
      const json = body.value ? { body: body.value, headers: { "Content-Type": "application/json" } } : {};
      return ask(form, path.value, { method: method.textContent, ...json });
    };
  },

  form(form) {
    return async () => {
      const body = new URLSearchParams(new FormData(form));
      const { status, text } = await ask(form, form.action, { method: "POST", body });
      const errors = status === 422 ? JSON.parse(text) : {};
      for (const output of form.querySelectorAll("output")) output.textContent = errors[output.dataset.for] ?? "";
    };
  },

  events(form) {
    const button = form.querySelector("button"), show = panel(form);
    let source = null;
    return () => {
      if (source) {
        source.close();
        source = null;
        button.textContent = "Listen";
        return show.head("closed", "");
      }
      show.begin();
      source = new EventSource(form.action);
      source.onopen = () => show.head("open", "text/event-stream");
      source.onmessage = ({ data, lastEventId }) => show.line(`id ${lastEventId}  ${data}`);
      source.onerror = () => show.head("connecting again", "");
      button.textContent = "Stop";
    };
  },

  socket(form) {
    const show = panel(form), text = form.elements.text;
    let socket = null, begun = 0;
    const connect = () => {
      socket = new WebSocket(form.action.replace(/^http/, "ws"));
      show.begin();
      socket.onopen = () => { show.head("connected", ""); form.dataset.open = "yes"; };
      socket.onmessage = ({ data }) => { show.line(data); show.ran(null, performance.now() - begun); };
      socket.onclose = () => { show.head("closed", ""); socket = null; delete form.dataset.open; };
    };
    form.whenSeen = connect;
    return () => {
      if (!socket) return connect();
      if (socket.readyState !== WebSocket.OPEN || !text.value) return;
      begun = performance.now();
      socket.send(text.value);
      text.value = "";
    };
  },

  upload(form) {
    const show = panel(form), progress = form.querySelector("progress");
    return () => {
      if (!form.elements.file.files.length) return form.elements.file.click();
      const request = new XMLHttpRequest(), begun = performance.now();  // fetch has no events for what it sends
      show.begin();
      request.upload.onprogress = ({ loaded, total }) => {
        progress.value = loaded / total;
        const [done, all] = [loaded, total].map((bytes) => bytes.toLocaleString("en"));
        show.head(`${Math.floor(100 * loaded / total)} %`, `${done} of ${all} bytes`);
      };
      request.onload = () => {
        progress.value = 1;
        show.head(`${request.status} ${request.statusText}`.trim(), request.getResponseHeader("content-type"));
        show.body(pretty(request.response, "json"));
        show.ran(request.getResponseHeader("x-ran"), performance.now() - begun);
      };
      request.onerror = () => show.head("no answer", "");
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.send(new FormData(form));
    };
  },
};

for (const form of document.querySelectorAll(".ask")) {
  const send = kinds[form.dataset.kind](form);
  form.onsubmit = (submit) => { submit.preventDefault(); send(); };
}

// -- the page ---------------------------------------------------------------------------------------------------------

// What is seen for the first time answers by itself, if asking changes nothing.
const firstSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    firstSight.unobserve(target);
    target.querySelector(".ask")?.whenSeen?.();
  }
}, { rootMargin: "200px" });

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    for (const [id, link] of links) link.toggleAttribute("aria-current", id === target.id);
  }
}, { rootMargin: "-20% 0px -70%" });

for (const section of document.querySelectorAll("section")) {
  firstSight.observe(section);
  reading.observe(section);
}
reading.observe(document.querySelector("header"));

document.getElementById("theme").onclick = () => {
  const root = document.documentElement;
  const theme = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = theme === "dark" ? "light" : "dark";
};
