// Python and the application run here, away from the page: code that never ends can be stopped with the worker.
import { loadPyodide } from "./pyodide.mjs";

const tell = (id, kind, value) => postMessage({ id, kind, value: value?.toJs ? value.toJs() : value });

// What has arrived of Pyodide and the packages, file by file. Counting the bytes of a file as they come would keep the
// browser from the WebAssembly that it compiled the last time.
let arrived = 0;
new PerformanceObserver((files) => {
  for (const file of files.getEntries()) arrived += file.decodedBodySize;
  tell(0, "arrived", arrived);
}).observe({ type: "resource", buffered: true });

async function begin() {
  const there = (name) => new URL(name, import.meta.url).href;
  const log = (line) => tell(0, "log", line);
  const [python, packages, player] = await Promise.all([
    loadPyodide({ indexURL: there("."), stdout: log, stderr: log }),
    fetch(there("packages.zip")).then((answer) => answer.arrayBuffer()),
    fetch(there("player.py")).then((answer) => answer.text()),
  ]);
  python.unpackArchive(packages, "zip", { extractDir: "/packages" });
  python.FS.writeFile("/packages/player.py", player);
  python.globals.set("tell", tell);
  return python.runPythonAsync("import sys; sys.path.append('/packages'); import player; player.Player(tell)");
}

const begun = begin();
begun.then(() => tell(0, "ready"), (error) => tell(0, "broken", String(error.message ?? error)));

onmessage = async ({ data: [method, ...values] }) => (await begun)[method](...values);
