// A real PostgreSQL server on 127.0.0.1, with its data in a folder of its own.

import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, openSync, readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";

const DEADLINE_MS = 60_000;
const DEBIAN = "/usr/lib/postgresql";
const NOBODY = 65534;
const isRoot = process.getuid() === 0;

// Where a program of PostgreSQL is. Debian keeps them apart, one folder per version.
export function programOf(name) {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, "bin")) : [];
  return [...process.env.PATH.split(":"), ...versions].map((folder) => join(folder, name)).find(existsSync);
}

// PostgreSQL does not run as root.
const unprivileged = (name) => [
  ...(isRoot ? ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"] : []),
  programOf(name),
];

// Ends the server when its own input is closed, however this process ends.
const KEEPER = '"$@" & server=$!; cat >/dev/null; kill -INT $server; wait $server';

export class Database {
  static async start(port) {
    const database = Object.assign(new Database(), { port });
    database.folder = await mkdtemp(join(tmpdir(), "symbolon-postgres-"));
    chmodSync(database.folder, 0o755);
    if (isRoot) chownSync(database.folder, NOBODY, NOBODY);
    const [program, ...args] = unprivileged("initdb");
    const settings = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=symbolon"];
    execFileSync(program, [...args, ...settings, "--pgdata", join(database.folder, "data")], { cwd: "/", stdio: "pipe" });
    await database.run();
    await database.sql("postgres", "CREATE DATABASE symbolon");
    return database;
  }

  // Starts it, again, and waits until it answers.
  async run() {
    const { folder, port } = this;
    const settings = ["listen_addresses=127.0.0.1", `port=${port}`, `unix_socket_directories=${folder}`];
    // Processes are killed here, and never the system.
    settings.push("max_connections=200", "fsync=off");
    const server = [...unprivileged("postgres"), "-D", join(folder, "data"), ...settings.flatMap((it) => ["-c", it])];
    const log = openSync(join(folder, "log"), "a");
    this.keeper = spawn("sh", ["-c", KEEPER, "keeper", ...server], { cwd: "/", stdio: ["pipe", "ignore", log] });
    this.ended = once(this.keeper, "exit");
    for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await wait(20)) {
      if (await this.sql("postgres", "SELECT 1").then(() => true, () => false)) return;
    }
    throw new Error(`PostgreSQL does not answer:\n${this.log()}`);
  }

  // Ends it in an orderly way: whoever is connected is cut off.
  async stop() {
    this.keeper?.stdin.end();
    await this.ended;
  }

  // `kill -9` of the server. Its children end when they see that.
  async kill() {
    process.kill(Number(readFileSync(join(this.folder, "data/postmaster.pid"), "utf8").split("\n")[0]), "SIGKILL");
    await this.stop();
  }

  // Runs a statement and gives what it prints.
  async sql(name, text) {
    const args = ["-qXAt", "-h", this.folder, "-p", String(this.port), "-U", "symbolon", "-d", name];
    const options = ["-v", "ON_ERROR_STOP=1", "-c", text];
    return (await promisify(execFile)(programOf("psql"), [...args, ...options])).stdout.trim();
  }

  log() {
    return readFileSync(join(this.folder, "log"), "utf8").slice(-2_000);
  }

  async remove() {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
