// Three servers on one PostgreSQL database behind a proxy, which gives each request to the next one, and followers that ask
// through that proxy, too: real processes on free ports of 127.0.0.1. The proxy reads the very file of deploy/, but for
// addresses and certificates. The third server reaches the database through a wire of ours, and so does each follower the
// proxy.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { freePorts, send, stopped } from "../proxies/world.js";
import { Database, programOf } from "./database.js";
import { Wire } from "./wire.js";

export const DEADLINE_MS = 60_000;
export const NODES = [0, 1, 2];
const PASSWORD = "correct horse battery staple";
const DEPLOY = new URL("../../deploy/", import.meta.url);
const API = new URL("../../examples/follower-node/server.js", import.meta.url).pathname;

// How each is started on its file, and who answered is told, for the walk.
const PROXIES = {
  nginx: {
    file: "nginx.conf",
    command: (file, folder) => ["-p", folder, "-e", "stderr", "-g", "daemon off; master_process off;", "-c", file],
    here: (text, folder, port) => {
      const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${folder}/${of};`);
      return text
        .replace("listen 443 ssl;", `listen 127.0.0.1:${port};`)
        .replace(/^ *ssl_certificate.*\n/gm, "")
        .replace("/run/nginx.pid", `${folder}/nginx.pid`)
        .replace("http {", `http { access_log off; add_header X-Answered-By $upstream_addr always; ${temp.join(" ")}`);
    },
  },
  haproxy: {
    file: "haproxy.cfg",
    command: (file) => ["-db", "-f", file],
    here: (text, folder, port) =>
      text
        .replace(/bind :443 .*/, `bind 127.0.0.1:${port}`)
        .replace("maxconn 20000", "maxconn 1000")
        .replace("default_backend", "http-response set-header X-Answered-By %s\n    default_backend"),
  },
};

// Which proxy it is.
export const PROXY = process.env.PROXY ?? "nginx";

// What is not here, if anything is.
export function lacks() {
  if (!PROXIES[PROXY]) return `PROXY is none of ${Object.keys(PROXIES)}`;
  if (!process.env.SYMBOLON) return "SYMBOLON does not name the server's binary";
  if (!programOf("initdb")) return "PostgreSQL is not installed";
  return programOf(PROXY) ? undefined : `${PROXY} is not installed`;
}

export class World {
  followers = [];
  #processes = {};

  // `settings` are those of every server, besides the usual.
  static async start(settings = {}) {
    const world = Object.assign(new World(), { settings });
    world.folder = await mkdtemp(join(tmpdir(), "symbolon-cluster-"));
    const [proxy, database, ...nodes] = await freePorts(5);
    Object.assign(world, { proxy, nodes, origin: `http://localhost:${proxy}` });
    try {
      world.database = await Database.start(database);
      world.wire = await Wire.to(database);
      for (const node of NODES) await mkdir(world.#dataDir(node));
      // The first makes the master key that all of them need.
      await world.run(0);
      await Promise.all([world.run(1), world.run(2), world.#runProxy()]);
      return world;
    } catch (error) {
      const log = world.log();
      await world.stop();
      throw new Error(`${error.message}\n${log}`);
    }
  }

  // Starts a server, again, and waits until it can work.
  async run(node) {
    const settings = {
      public_url: this.origin,
      data_dir: this.#dataDir(node),
      "listen.address": `127.0.0.1:${this.nodes[node]}`,
      "listen.trusted_proxies": "127.0.0.1",
      "keys.master_key_file": join(this.folder, "master.key"),
      "password.memory_kib": 8,
      "password.iterations": 1,
      "password.queue_max": 4096,
      "store.timeout": "2s",
      // Whoever got no answer asks again.
      "lifetimes.refresh_grace": "10m",
      "limits.sessions_per_user_max": 10_000,
      ...this.settings,
    };
    const set = Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
    const port = node === 2 ? this.wire.port : this.database.port;
    const env = { SYMBOLON_STORE__URL: `postgres://symbolon@127.0.0.1:${port}/symbolon?sslmode=disable` };
    this.#spawn(node, [process.env.SYMBOLON, "serve", ...set], env);
    await this.works(node);
  }

  // Waits until a server says that it can work.
  works(node) {
    return until(async () => {
      const { child } = this.#processes[node];
      if (child.exitCode !== null) throw new Error(`server ${node} has stopped (${child.exitCode})`);
      return (await this.ask("/readyz", { node })).status === 200;
    }, `that server ${node} can work`);
  }

  async #runProxy() {
    const { file, command, here } = PROXIES[PROXY];
    const node = (_, number) => `127.0.0.1:${this.nodes[number - 1]}`;
    const text = (await readFile(new URL(file, DEPLOY), "utf8")).replace(/10\.0\.0\.1(\d):8080/g, node);
    const path = join(this.folder, file);
    await writeFile(path, here(text, this.folder, this.proxy));
    this.#spawn("proxy", [programOf(PROXY), ...command(path, this.folder)]);
    await until(async () => (await this.ask("/healthz")).status === 200, `that ${PROXY} answers`);
  }

  // Starts `symbolon forward-auth`, or the example in JavaScript (`api`), and waits until it lets a new login in.
  async addFollower(name, kind) {
    const { client_secret: secret } = await this.cli(0, ["client", "add", name, "--kind", "resource", "--audience", this.origin]);
    const [wire, [port]] = [await Wire.to(this.proxy), await freePorts(1)];
    const server = `http://127.0.0.1:${wire.port}`;
    if (kind === "api") {
      const env = { ISSUER: this.origin, SERVER: server, CLIENT_ID: name, CLIENT_SECRET: secret, AUDIENCE: this.origin, PORT: port };
      this.#spawn(name, [process.execPath, API], env);
    } else {
      await writeFile(join(this.folder, `${name}.secret`), secret);
      const settings = {
        ...{ "server.url": server, "server.public_url": this.origin, "server.client_id": name, "server.deadline": "1s" },
        ...{ "server.client_secret_file": join(this.folder, `${name}.secret`), "listen.address": `127.0.0.1:${port}` },
        ...{ origins: this.origin, headers: "x-original" },
      };
      const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
      this.#spawn(name, [process.env.SYMBOLON, "forward-auth", ...set]);
    }
    const follower = { name, kind, port, wire };
    this.followers.push(follower);
    return follower;
  }

  // A request with these headers, as one that a follower guards.
  askFollower({ kind, port }, headers) {
    const original = ["x-original-method", "GET", "x-original-uri", "/", "x-original-host", `localhost:${this.proxy}`];
    const all = ["host", `127.0.0.1:${port}`, ...headers, ...(kind === "api" ? [] : original)];
    return send(port, { path: kind === "api" ? "/" : "/check", headers: all }).catch((error) => ({ status: 0, text: String(error) }));
  }

  #spawn(name, [command, ...args], more = {}) {
    const env = { PATH: process.env.PATH, HOME: this.folder, ...more };
    const child = spawn(command, args, { cwd: this.folder, env, stdio: ["ignore", "pipe", "pipe"] });
    const of = { child, log: this.#processes[name]?.log ?? "", exited: once(child, "exit").catch(() => {}) };
    child.on("error", (error) => (of.log += error));
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (of.log += bytes));
    this.#processes[name] = of;
  }

  #dataDir(node) {
    return join(this.folder, `node-${node}`);
  }

  // Sends a signal to a server, and waits until it has stopped, or is gone. Gives its exit code.
  async signal(node, signal) {
    const { child, exited } = this.#processes[node];
    child.kill(signal);
    if (signal === "SIGSTOP") await stopped(child.pid);
    if (signal === "SIGKILL" || signal === "SIGTERM") await exited;
    return child.exitCode;
  }

  // A request through nginx, or to one server. Who gets no answer learns `status` 0.
  async ask(path, { node, method, headers = [], json, body = json && JSON.stringify(json), signal } = {}) {
    const port = node === undefined ? this.proxy : this.nodes[node];
    const type = json ? ["content-type", "application/json"] : [];
    const all = ["host", `localhost:${this.proxy}`, ...type, ...headers];
    return send(port, { method: method ?? (body ? "POST" : "GET"), path, headers: all, body, signal }).catch((error) => ({
      status: 0,
      headers: {},
      text: String(error),
    }));
  }

  // A verb of the command line, on one of the running servers.
  async cli(node, args, input = "") {
    const all = [...args, "--json", "--set", `data_dir=${this.#dataDir(node)}`];
    const running = promisify(execFile)(process.env.SYMBOLON, all, { encoding: "utf8" });
    running.child.stdin.end(input);
    return JSON.parse((await running).stdout || "null");
  }

  // A user who can log in.
  async addUser(username) {
    await this.cli(0, ["user", "add", username], PASSWORD);
    return { username, password: PASSWORD };
  }

  // An application that keeps session data. Gives how it proves who it is.
  async addShop(id) {
    const { client_secret: secret } = await this.cli(1, ["client", "add", id, "--kind", "confidential"]);
    return ["authorization", `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`];
  }

  log() {
    const logs = Object.entries(this.#processes).map(([name, { log }]) => `--- ${name}\n${log.slice(-3_000)}`);
    return [...logs, `--- postgres\n${this.database?.log()}`].join("\n");
  }

  async stop() {
    for (const { child } of Object.values(this.#processes)) child.kill("SIGCONT") && child.kill("SIGTERM");
    for (const { child, exited } of Object.values(this.#processes)) {
      if (child.pid === undefined) continue;
      await Promise.race([exited, wait(5_000, null, { ref: false })]);
      child.kill("SIGKILL");
      await exited;
    }
    for (const { wire } of [this, ...this.followers]) wire?.stop();
    await this.database?.remove();
    await rm(this.folder, { recursive: true, force: true });
  }
}

// Waits until something is so, under a deadline.
export async function until(isSo, what) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await wait(20)) if (await isSo()) return;
  throw new Error(`in ${DEADLINE_MS} ms not seen: ${what}`);
}
