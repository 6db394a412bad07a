// Run smoke.py in Pyodide: CPython 3.14 or newer as WebAssembly, without threads.
//   node tests/project/pyodide/run.mjs FOLDER_OF_PYODIDE FOLDER_OF_PYTHON_PACKAGES
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [pyodide, packages] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`));
const python = await loadPyodide();
const repository = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
for (const [name, root] of Object.entries({ repository, packages })) {
  python.FS.mkdir(`/${name}`);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, `/${name}`);
}
const run = python.runPythonAsync(`
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/repository", "/repository/tests/project/pyodide"]
sys.path.append("/packages")
import smoke
await smoke.main()
`);
try {
  await run;
  process.exit(0);
} catch (error) {
  console.error(error.message); // with its stack, Node prints the whole of Pyodide
  process.exit(1);
}
