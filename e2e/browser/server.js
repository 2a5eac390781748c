// The real binary, `symbolon dev` on an empty folder and a free port.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";

const DEADLINE_MS = 20_000;

// Starts it, with these arguments besides, and waits until it answers. Gives what its line of JSON says (`url`, `users`, `shop`) and `stop()`.
export async function startServer(binary, ...more) {
  const folder = await mkdtemp(join(tmpdir(), "symbolon-e2e-"));
  const args = ["dev", "--json", "--port", String(await freePort()), ...more];
  const isSetting = ([name]) => name.startsWith("SYMBOLON");
  const env = Object.fromEntries(Object.entries(process.env).filter((variable) => !isSetting(variable)));
  const child = spawn(binary, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit");
  let log = "";
  child.stderr.on("data", (bytes) => (log += bytes));

  const stop = async () => {
    child.kill("SIGTERM");
    const code = await Promise.race([exited.then(([code]) => code), wait(DEADLINE_MS, "late", { ref: false })]);
    child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
    if (code !== 0) throw new Error(`the server did not stop cleanly (${code}):\n${log}`);
  };
  try {
    const line = once(createInterface(child.stdout), "line").then(([line]) => JSON.parse(line));
    const died = exited.then(([code]) => Promise.reject(new Error(`it ended with ${code}`)));
    died.catch(() => {});
    const late = wait(DEADLINE_MS, null, { ref: false }).then(() => Promise.reject(new Error("no answer in time")));
    late.catch(() => {});
    const said = await Promise.race([line, died, late]);
    await Promise.race([healthy(said.url), died, late]);
    return { ...said, dataDir: join(folder, "symbolon-data"), stop };
  } catch (error) {
    await stop().catch(() => {});
    throw new Error(`${binary} ${args.join(" ")}: ${error.message}\n${log}`);
  }
}

async function healthy(url) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await wait(25)) {
    const answer = await fetch(`${url}/healthz`).catch(() => null);
    if (answer?.ok) return;
  }
}

// A port that is free together with the next one: the demo shop's.
async function freePort() {
  for (;;) {
    const first = await listen(0);
    const { port } = first.address();
    const second = await listen(port + 1).catch(() => null);
    for (const socket of [first, second]) await new Promise((done) => (socket ? socket.close(done) : done()));
    if (second) return port;
  }
}

async function listen(port) {
  const socket = createServer().listen(port, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}
