// A proxy in front of an application, with the server and forward-auth: real processes on free ports of 127.0.0.1,
// configured by the very files that the documentation shows. Only ports and paths of files are replaced.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const DEADLINE_MS = 30_000;
const docs = fileURLToPath(new URL("../../docs/forward-auth/", import.meta.url));
const app = fileURLToPath(new URL("app.js", import.meta.url));

// What each proxy reads, and how it is started on a file in a folder.
export const PROXIES = {
  nginx: {
    headers: "x-original",
    files: ["nginx.conf"],
    command: async (folder) => {
      // The file is for conf.d; around it stands what a distribution gives, with everything it writes in the folder.
      const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${folder}/${of};`);
      await writeFile(
        join(folder, "main.conf"),
        `daemon off; worker_processes 1; error_log stderr; pid ${folder}/nginx.pid; events {}
         http { access_log off; ${temp.join(" ")} include ${folder}/nginx.conf; }`,
      );
      return ["nginx", "-p", folder, "-e", "stderr", "-c", join(folder, "main.conf")];
    },
  },
  haproxy: {
    headers: "x-original",
    files: ["haproxy.cfg", "symbolon.lua"],
    command: (folder) => ["haproxy", "-db", "-f", join(folder, "haproxy.cfg")],
  },
  caddy: {
    headers: "x-forwarded",
    files: ["Caddyfile"],
    command: (folder) => ["caddy", "run", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
  },
};

export class World {
  #processes = {};

  // Starts everything and waits until it answers.
  // The server is under a path of the application's host, or on another host (`elsewhere`).
  static async start(name, binary, elsewhere = "") {
    const world = new World();
    world.configs = { server: `symbolon${elsewhere}.toml`, forward: `forward-auth${elsewhere}.toml` };
    world.proxy = name;
    world.folder = await mkdtemp(join(tmpdir(), `symbolon-${name}-`));
    const [proxy, server, forward, app] = await freePorts(4);
    world.ports = { proxy, server, forward, app };
    world.origin = `http://localhost:${proxy}`;
    world.binary = binary;
    try {
      await world.#begin(PROXIES[name]);
      return world;
    } catch (error) {
      await world.stop();
      throw new Error(`${error.message}\n${world.log()}`);
    }
  }

  async #begin(proxy) {
    const { folder, ports, binary } = this;
    await writeFile(join(folder, "gate"), "0123456789abcdef".repeat(4));
    for (const file of [...Object.values(this.configs), ...proxy.files]) {
      await writeFile(join(folder, file), this.#here(await readFile(docs + file, "utf8"), proxy));
    }
    this.#run("app", [process.execPath, app, ports.app]);
    const server = this.#run("server", [
      ...[binary, "dev", "--json", "--no-demo", "--config", join(folder, this.configs.server)],
      ...["--set", "password.memory_kib=8", "--set", "password.iterations=1"],
    ]);
    const line = createInterface(server.stdout);
    this.startForward();
    this.#run("proxy", await proxy.command(folder));
    const [said] = await within(once(line, "line"));
    this.users = JSON.parse(said).users;
    await this.#answers(ports.app, "/served");
    await this.#answers(ports.server, "/readyz");
    await this.#answers(ports.forward, "/readyz");
    await this.#answers(ports.proxy, "/public");
  }

  startForward() {
    const { folder, binary } = this;
    const settings = ["--set", "server.deadline=1s"];
    this.#run("forward", [binary, "forward-auth", "--config", join(folder, this.configs.forward), ...settings]);
  }

  #here(text, proxy) {
    const { proxy: own, server, forward, app } = this.ports;
    const ports = { 8000: own, 8080: server, 8090: forward, 3000: app };
    return text
      .replace(/:(8000|8080|8090|3000)\b/g, (_, port) => `:${ports[port]}`)
      .replaceAll("/run/secrets/gate", join(this.folder, "gate"))
      .replaceAll("/etc/haproxy/symbolon.lua", join(this.folder, "symbolon.lua"))
      .replace('headers = "x-original"', `headers = "${proxy.headers}"`);
  }

  #run(name, [command, ...args]) {
    const isSetting = ([variable]) => variable.startsWith("SYMBOLON");
    const env = Object.fromEntries(Object.entries(process.env).filter((variable) => !isSetting(variable)));
    Object.assign(env, { HOME: this.folder, XDG_DATA_HOME: this.folder, XDG_CONFIG_HOME: this.folder });
    const stdio = ["ignore", "pipe", "pipe"];
    const child = spawn(command, args.map(String), { cwd: this.folder, env, stdio });
    const of = { child, log: "", exited: once(child, "exit").catch(() => {}) };
    child.on("error", (error) => (of.log += error));
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (of.log += bytes));
    this.#processes[name] = of;
    return child;
  }

  // Sends a signal to one of `app`, `server`, `forward`, `proxy`.
  async signal(name, signal) {
    const { child, exited } = this.#processes[name];
    child.kill(signal);
    if (signal === "SIGSTOP") await within(stopped(child.pid));
    if (signal === "SIGKILL" || signal === "SIGTERM") await within(exited);
  }

  log() {
    return Object.entries(this.#processes).map(([name, { log }]) => `--- ${name}\n${log.slice(-2_000)}`).join("\n");
  }

  async stop() {
    for (const { child } of Object.values(this.#processes)) child.kill("SIGCONT") && child.kill("SIGTERM");
    for (const { child, exited } of Object.values(this.#processes)) {
      if (child.pid === undefined) continue;
      await Promise.race([exited, wait(5_000, null, { ref: false })]);
      child.kill("SIGKILL");
      await exited;
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  async #answers(port, path) {
    for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await wait(20)) {
      const answer = await send(port, { path, headers: ["host", `localhost:${port}`] }).catch(() => null);
      if (answer?.status === 200) return;
    }
    throw new Error(`nothing answers at ${port}${path}`);
  }

  // A request through the proxy. `headers` is a flat list, so that one can stand twice; the path is sent as it is.
  ask(path, { headers = [], ...options } = {}) {
    return send(this.ports.proxy, { path, headers: ["host", `localhost:${this.ports.proxy}`, ...headers], ...options });
  }

  // A request to the server on its own host.
  askServer(path, { headers = [], ...options } = {}) {
    return send(this.ports.server, { path, headers: ["host", `127.0.0.1:${this.ports.server}`, ...headers], ...options });
  }

  // How many requests have reached the application.
  async served() {
    return Number((await send(this.ports.app, { path: "/served" })).text);
  }

  // A new login: its cookie, or its access token.
  async login(username, deliver) {
    const { password } = this.users.find((user) => user.username === username);
    const audience = deliver === "token" ? { audience: `${this.origin}/auth` } : {};
    const answer = await this.ask("/auth/api/v1/login", {
      method: "POST",
      headers: ["content-type", "application/json"],
      body: JSON.stringify({ username, password, deliver, ...audience }),
    });
    if (answer.status !== 200) throw new Error(`login: ${answer.status} ${answer.text}`);
    return deliver === "token" ? answer.json.access_token : answer.headers["set-cookie"][0].split(";")[0];
  }
}

export function send(port, { method = "GET", path, headers = [], body, signal }) {
  return within(
    new Promise((resolve, reject) => {
      // Headers in a list are sent as they are: nothing is added to them.
      const host = headers.includes("host") ? [] : ["host", `127.0.0.1:${port}`];
      const length = body === undefined ? [] : ["content-length", String(Buffer.byteLength(body))];
      const list = [...host, ...headers, ...length];
      const asked = request({ host: "127.0.0.1", port, method, path, headers: list, agent: false, signal });
      asked.on("error", reject);
      asked.on("upgrade", (answer, socket) => socket.destroy() && resolve({ status: 101, headers: answer.headers }));
      asked.on("response", async (answer) => {
        const chunks = [];
        try {
          for await (const chunk of answer) chunks.push(chunk);
        } catch (error) {
          return reject(error);
        }
        const text = Buffer.concat(chunks).toString();
        const json = (() => {
          try {
            return JSON.parse(text);
          } catch {
            return undefined;
          }
        })();
        resolve({ status: answer.statusCode, headers: answer.headers, text, json });
      });
      asked.end(body);
    }),
  );
}

// Each thread stops when it next enters the kernel, which may be after its next answer.
export async function stopped(pid) {
  const state = async (task) => (await readFile(`/proc/${pid}/task/${task}/stat`, "utf8")).replace(/.*\) /, "")[0];
  for (;;) {
    const states = await Promise.all((await readdir(`/proc/${pid}/task`)).map(state)).catch(() => ["?"]);
    if (states.every((one) => one === "T")) return;
    await wait(5);
  }
}

function within(promise) {
  const late = wait(DEADLINE_MS, null, { ref: false }).then(() => Promise.reject(new Error("no answer in time")));
  late.catch(() => {});
  return Promise.race([promise, late]);
}

export async function freePorts(count) {
  const sockets = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(sockets.map((socket) => once(socket, "listening")));
  const ports = sockets.map((socket) => socket.address().port);
  await Promise.all(sockets.map((socket) => new Promise((done) => socket.close(done))));
  return ports;
}
