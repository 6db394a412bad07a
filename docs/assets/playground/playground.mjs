// "Try it": an editor, a request line, the answer and the log. Python is loaded when somebody points at a button, and on
// the playground's own page as soon as the page is shown.

const HERE = new URL(".", import.meta.url);
const METHODS = /^(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|WS) +(\/\S*) *([^]*)$/;

// -- the worker: one for a page ---------------------------------------------------------------------------------------

const BYTES = 14.4e6; // of what the worker loads; tests/project/test_site.py compares it
let worker = null, last = 0, share = 0; // of Python that is there: 1 when it runs
const asking = new Map(); // by number, what takes the messages of a request

/** Load Python, unless that has begun. */
function begin() {
  if (worker) return;
  share = 0;
  worker = new Worker(new URL("worker.mjs", HERE), { type: "module" });
  const tell = (id, kind, value) => { for (const [number, take] of asking) if (!id || id === number) take(kind, value); };
  const broken = (text) => { worker = null; tell(0, "broken", text); };
  worker.onmessage = ({ data: { id, kind, value } }) => {
    if (kind === "broken") return broken(value);
    if (kind === "arrived") share = Math.max(share, Math.min(value / BYTES, 1) * .9); // the rest: Python starts
    if (kind === "ready") share = 1;
    return tell(id, kind, value);
  };
  worker.onerror = (event) => broken(event.message ?? "no worker");
}

/** Send a call to the player. */
function call(method, ...values) {
  begin();
  worker.postMessage([method, ...values]);
}

/** Begin before the click, which then waits for less; not for a visitor who pays for what is loaded. */
const early = () => { if (!navigator.connection?.saveData) begin(); };

/** End the worker with whatever it does: the next request starts a new one. */
function end() {
  worker?.terminate();
  worker = null;
  for (const take of [...asking.values()]) take("failed", "Stopped. The next request starts the application anew.");
}

// -- the panel --------------------------------------------------------------------------------------------------------

const make = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
};

const PANEL = `
  <div class="play" role="group" aria-label="Playground">
    <div class="play-editor"><div class="play-paint" aria-hidden="true"></div>
      <textarea aria-label="The application" spellcheck="false" autocapitalize="off" autocomplete="off"></textarea></div>
    <div class="play-tries"></div>
    <form class="play-ask">
      <input aria-label="Request" spellcheck="false" autocapitalize="off" autocomplete="off">
      <button class="md-button md-button--primary">Send</button>
      <button class="md-button" type="button" hidden>Stop</button>
    </form>
    <div class="play-answer" aria-live="polite" hidden>
      <p><b class="play-status"></b> <span class="play-spent"></span></p>
      <progress class="play-progress" aria-label="Python is loaded" hidden></progress>
      <p class="play-headers"></p>
      <pre class="play-body" tabindex="0"></pre>
      <iframe class="play-page" title="The page" sandbox="allow-same-origin allow-forms" hidden></iframe>
    </div>
    <details class="play-log" hidden><summary>Log</summary><pre tabindex="0"></pre></details>
  </div>`;

function panel(source, requests) {
  const play = make(PANEL), part = (name) => play.querySelector(name);
  const [editor, line, answer] = [part("textarea"), part("input"), part(".play-answer")];
  const [send, stop] = play.querySelectorAll(".play-ask button");
  const body = part(".play-body"), page = part(".play-page");
  let number = 0, socket = false, stopping = 0, headers = [];

  const log = (text) => {
    part(".play-log").hidden = false;
    part(".play-log pre").append(`${text}\n`);
    part(".play-log pre").scrollTop = 1e9;
  };
  const status = (text, bad) => {
    part(".play-status").textContent = text;
    part(".play-status").classList.toggle("bad", bad);
  };
  /** Say how much of Python is there, until it runs. */
  const loading = () => {
    const progress = part(".play-progress");
    progress.hidden = share === 1;
    progress.value = share;
    if (share === 1) return status("…", false);
    const megabytes = `${Math.round(share / .9 * BYTES / 1e6)} of ${Math.ceil(BYTES / 1e6)} MB`;
    return status(share < .9 ? `loading Python, ${megabytes}` : "starting Python", false);
  };
  const finish = () => {
    part(".play-progress").hidden = true;
    asking.delete(number);
    clearTimeout(stopping);
    number = 0;
    socket = false;
    stop.hidden = true;
    send.textContent = "Send";
    play.dataset.state = "done";
  };
  const shown = {
    arrived: loading,
    ready: loading,
    broken(text) { shown.failed(`Python could not be loaded: ${text}`); },
    head([code, lines]) {
      headers = lines;
      socket = code === "open";
      if (socket) send.textContent = "Say";
      status(String(code), !/^([123]\d\d|open|closed 1000)/.test(code));
      part(".play-headers").textContent = lines.map(([name, value]) => `${name}: ${value}`).join("\n");
    },
    chunk(text) {
      body.append(text);
      body.scrollTop = 1e9;
    },
    log,
    end(spent) {
      part(".play-spent").textContent = `${spent.toFixed(1)} ms`;
      const find = (name) => headers.find((header) => header[0] === name)?.[1] ?? "";
      if (/text\/html/.test(find("content-type"))) show();
      finish();
    },
    failed(text) {
      status("no answer", true);
      body.textContent = text;
      finish();
    },
  };

  /** Show the page as a page. Its links and forms ask the application, and its scripts don't run. */
  function show() {
    const light = document.body.dataset.mdColorScheme === "slate" ? "dark" : "light";
    page.srcdoc = `<meta name="color-scheme" content="${light}"><body style="font-family: system-ui">${body.textContent}`;
    page.hidden = false;
    page.onload = () => {
      const inner = page.contentDocument;
      page.style.height = `${Math.min(inner.body.scrollHeight + 24, 480)}px`;
      inner.onclick = (event) => {
        const link = event.target.closest("a[href]");
        if (!link) return;
        event.preventDefault();
        go("GET", link.getAttribute("href"), "");
      };
      inner.onsubmit = (event) => {
        event.preventDefault();
        const form = event.target, fields = new URLSearchParams(new FormData(form, event.submitter)).toString();
        const target = form.getAttribute("action") || METHODS.exec(line.value)?.[2] || "/";
        if (form.method === "post") go("POST", target, fields);
        else go("GET", `${target.split("?")[0]}?${fields}`, "");
      };
    };
  }

  /** Ask for a link's or a form's target, which may be relative to the path that was asked. */
  function go(method, target, text) {
    const from = new URL(METHODS.exec(line.value)?.[2] ?? "/", "http://127.0.0.1:8000");
    const url = new URL(target, from);
    if (url.origin !== from.origin) return log(`${url.href} is elsewhere.`);
    line.value = `${method} ${url.pathname}${url.search} ${text}`.trim();
    ask();
  }

  function ask() {
    const [, method, target, text] = METHODS.exec(line.value.trim()) ?? [];
    if (socket && method === "WS") {
      log(`said ${text}`);
      return call("say", number, text);
    }
    if (number) {
      call("leave", number);
      finish();
    }
    answer.hidden = false;
    page.hidden = true;
    body.textContent = part(".play-headers").textContent = part(".play-spent").textContent = "";
    if (!method) {
      status("no request", true);
      body.textContent = "Write a method, a path and, if it has one, a body: GET /path, POST /path name=value, WS /path text";
      play.dataset.state = "done";
      return undefined;
    }
    begin();
    loading();
    play.dataset.state = "asking";
    number = ++last;
    asking.set(number, (kind, value) => shown[kind](value));
    stop.hidden = false;
    return call("ask", number, editor.value, method, target, text);
  }

  part(".play-ask").onsubmit = (event) => {
    event.preventDefault();
    ask();
  };
  stop.onclick = () => {
    call("leave", number);
    stopping = setTimeout(end, 1000); // the code does not let go
  };

  const fill = (code, lines) => {
    editor.value = code;
    colour();
    line.value = lines[0] ?? "GET /";
    part(".play-tries").replaceChildren(...lines.map((text) => {
      const button = make('<button class="play-try" type="button"></button>');
      button.textContent = text;
      button.onclick = () => { line.value = text; ask(); };
      return button;
    }));
  };
  const colour = () => {
    editor.rows = editor.value.split("\n").length;
    part(".play-paint").innerHTML = coloured(editor.value);
  };
  editor.oninput = colour;
  editor.onscroll = () => { part(".play-paint").scrollLeft = editor.scrollLeft; };
  editor.onkeydown = (event) => type(event, editor);
  fill(source, requests);
  return { play, fill, ask };
}

// -- the editor -------------------------------------------------------------------------------------------------------

const KEYWORDS = "and as assert async await break class continue def del elif else except False finally for from global if "
  + "import in is lambda None nonlocal not or pass raise return True try while with yield match case type";
const TOKEN = new RegExp([
  /(?<c1>#[^\n]*)/, /(?<s1>\b[rbft]*(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))/,
  /(?<nd>@[\w.]+)/, /(?<=\b(?:def|class) +)(?<nf>\w+)/, new RegExp(`(?<k>\\b(?:${KEYWORDS.replaceAll(" ", "|")})\\b)`),
  /(?<m>\b\d[\w.]*)/,
].map((one) => one.source).join("|").replace("\\b[rbft]*", "(?:\\b[rbft]+)?"), "g");
const escaped = (text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);

/** Return Python's source as HTML, in the classes of the site's listings. */
function coloured(source) {
  let html = "", done = 0;
  for (const found of source.matchAll(TOKEN)) {
    const kind = Object.keys(found.groups).find((name) => found.groups[name] !== undefined);
    html += `${escaped(source.slice(done, found.index))}<span class="${kind}">${escaped(found[0])}</span>`;
    done = found.index + found[0].length;
  }
  return `${html}${escaped(source.slice(done))}\n`;
}

/** Tab and Enter indent, as in editors; Escape lets Tab leave the editor again. */
function type(event, editor) {
  const before = editor.value.slice(0, editor.selectionStart);
  let text = null;
  if (event.key === "Escape") editor.dataset.leaves = "yes";
  else if (event.key === "Tab" && !event.shiftKey && !editor.dataset.leaves) text = "    ";
  else {
    if (event.key !== "Shift") delete editor.dataset.leaves;
    if (event.key === "Enter") {
      const current = before.slice(before.lastIndexOf("\n") + 1);
      text = `\n${/^ */.exec(current)[0]}${/:\s*$/.test(current) ? "    " : ""}`;
    }
  }
  if (text === null) return;
  event.preventDefault();
  editor.setRangeText(text, editor.selectionStart, editor.selectionEnd, "end");
  editor.dispatchEvent(new Event("input"));
}

// -- the pages --------------------------------------------------------------------------------------------------------

for (const mark of document.querySelectorAll(".playable")) {
  const button = make('<button class="md-button play-it" type="button">Try it</button>');
  const listing = mark.previousElementSibling;
  button.onclick = () => {
    const opened = panel(listing.querySelector("code").textContent, JSON.parse(mark.dataset.requests));
    listing.hidden = true;
    mark.replaceChildren(opened.play);
    opened.ask();
  };
  button.onpointerenter = button.onfocus = early;
  mark.append(button);
}

for (const place of document.querySelectorAll(".playground")) {
  const starts = JSON.parse(place.querySelector("script").textContent);
  const opened = panel(starts[0].source, starts[0].requests);
  const choice = make('<p class="play-choice"><label>Start with <select></select></label></p>');
  const select = choice.querySelector("select");
  select.append(...starts.map(({ title }, index) => new Option(title, index)));
  select.onchange = () => opened.fill(starts[select.value].source, starts[select.value].requests);
  place.append(choice, opened.play);
  addEventListener("load", () => setTimeout(early)); // first the page itself
}
