// What the examples need, and where they are.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CHROMIUM } from "./chromium.js";

/** The server: SYMBOLON names another one. */
export const binary = fileURLToPath(new URL(process.env.SYMBOLON ?? "../../target/debug/symbolon", import.meta.url));

/** The path of a file of the examples. */
export const settled = (path) => fileURLToPath(new URL(`../../examples/${path}`, import.meta.url));

const runs = (command, ...args) => {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

// Why an example cannot run here, or nothing.
export const lacks = {
  node(example) {
    if (Number(process.versions.node.split(".")[0]) < 20) return `it needs Node 20, and this is ${process.versions.node}`;
    return existsSync(settled(`${example}/node_modules`)) ? undefined : "its npm packages could not be installed";
  },
  python: (python, modules) =>
    runs(python, "-c", `import ${modules}`) ? undefined : "its packages for Python could not be installed",
  java: (jar) =>
    existsSync(settled(jar)) && runs("java", "-version")
      ? undefined
      : "it could not be built (it needs a JDK 17 or later, and Maven)",
  chromium: () =>
    runs(CHROMIUM, "--version") && existsSync(fileURLToPath(new URL("../node_modules/playwright-core", import.meta.url)))
      ? undefined
      : "Chromium could not be installed",
  nginx: () => (runs("nginx", "-v") ? undefined : "nginx could not be installed"),
};
