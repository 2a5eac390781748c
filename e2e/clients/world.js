// The real server, and the clients as processes beside it: each knows the issuer's URL, its name and its secret.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startServer } from "../browser/server.js";

export const DEADLINE_MS = 60_000;
export const AUDIENCE = "https://api.example";
const here = fileURLToPath(new URL(".", import.meta.url));

export class World {
  #programs = [];

  // Starts the server. Clients that refresh by themselves do so a minute before a token ends, or before it is used: here
  // soon after they got it.
  static async start(binary) {
    const world = Object.assign(new World(), { binary });
    const settings = ["password.memory_kib=8", "password.iterations=1", "lifetimes.access_token=62s"];
    // Clients on this machine are told of the end.
    settings.push("outbound.allowed_networks=127.0.0.0/8,::1");
    world.server = await startServer(binary, "--no-demo", ...settings.flatMap((setting) => ["--set", setting]));
    try {
      await world.#meet();
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  async #meet() {
    this.issuer = this.server.url;
    this.dataDir = this.server.dataDir;
    this.user = this.server.users.find(({ username }) => username === "user");
    this.user.sub = this.cli("user", "show", this.user.username).sub;
    this.cli("user", "profile", this.user.username, "email=user@example.com", "email_verified=true");
    this.metadata = await (await fetch(`${this.issuer}/.well-known/openid-configuration`)).json();
  }

  // A verb of the command line, on the running server.
  cli(...args) {
    const all = [...args, "--json", "--set", `data_dir=${this.dataDir}`];
    return JSON.parse(execFileSync(this.binary, all, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }));
  }

  // Registers a client, and gives its secret if it has one.
  register(id, kind, options) {
    const flag = (name, value) => (value === true ? [`--${name}`] : [`--${name}`, value]);
    const flags = Object.entries(options).flatMap(([name, value]) => [].concat(value).flatMap((it) => flag(name, it)));
    return this.cli("client", "add", id, "--kind", kind, ...flags).client_secret;
  }

  // Runs a program in a folder of its own (FOLDER) until `stopPrograms`, and waits until it listens at its PORT.
  async run([command, ...args], env) {
    const FOLDER = await mkdtemp(join(tmpdir(), "symbolon-client-"));
    const keep = ["PATH", "HOME", "LANG", "JAVA_HOME"].filter((name) => process.env[name]);
    const kept = Object.fromEntries(keep.map((name) => [name, process.env[name]]));
    const child = spawn(command, args, { cwd: here, env: { ...kept, ...env, FOLDER }, stdio: ["ignore", "pipe", "pipe"] });
    const program = { url: `http://localhost:${env.PORT}`, log: "" };
    const exited = once(child, "exit").catch(() => {});
    child.on("error", (error) => (program.log += error));
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (program.log += bytes));
    this.#programs.push(async () => {
      child.kill("SIGTERM");
      await Promise.race([exited, wait(5_000, null, { ref: false })]);
      child.kill("SIGKILL");
      await exited;
      await rm(FOLDER, { recursive: true, force: true });
    });
    for (const end = Date.now() + DEADLINE_MS; Date.now() < end && child.exitCode === null && child.pid; await wait(25)) {
      if (await listens(env.PORT)) return program;
    }
    throw new Error(`${command} ${args.join(" ")} does not listen:\n${program.log}`);
  }

  async stopPrograms() {
    await Promise.all(this.#programs.splice(0).map((stop) => stop()));
  }

  async stop() {
    await this.stopPrograms();
    await this.server?.stop();
  }
}

// Stands before a client's back channel and is shut at first: so the client hears of an end when it refreshes.
export class BackChannel {
  isOpen = false;
  // What the client answered, one status per logout token.
  answers = [];
  bodies = [];

  static async before(to) {
    const channel = new BackChannel();
    channel.server = createHttpServer((request, response) => channel.#hand(to, request, response)).listen(0, "127.0.0.1");
    await once(channel.server, "listening");
    channel.url = `http://localhost:${channel.server.address().port}/`;
    return channel;
  }

  async #hand(to, request, response) {
    const body = Buffer.concat(await request.toArray());
    if (!this.isOpen) return response.writeHead(503).end();
    const headers = { "content-type": request.headers["content-type"] };
    const { status } = await fetch(to, { method: "POST", headers, body });
    this.bodies.push(body.toString());
    this.answers.push(status);
    response.writeHead(status).end();
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

const listens = (port) => fetch(`http://localhost:${port}/`, { redirect: "manual" }).then(() => true, () => false);

export async function freePort() {
  const socket = createServer().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  await new Promise((done) => socket.close(done));
  return port;
}

// Waits until something is so, under a deadline.
export async function until(isSo, what) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await wait(25)) if (await isSo()) return;
  throw new Error(`in ${DEADLINE_MS} ms not seen: ${typeof what === "function" ? what() : what}`);
}

// What cannot run here says why, and is counted as skipped.
export function cannot(t, lack) {
  t.skip(`skipped, because ${lack}`);
}
