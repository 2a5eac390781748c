// Logs in through the system's browser and calls an API. See README.md.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline/promises";
import { NativeApp } from "./native.js";

const { ISSUER = "http://localhost:8080", CLIENT_ID = "phone" } = process.env;
const OPENERS = { darwin: ["open"], win32: ["explorer"], linux: ["xdg-open"] };

function open(url) {
  console.log(`Log in here, if no browser opens by itself:\n${url}\n`);
  const [command] = OPENERS[process.platform] ?? OPENERS.linux;
  spawn(command, [url], { stdio: "ignore" }).on("error", () => {});
}

const app = await NativeApp.discover({ issuer: ISSUER, clientId: CLIENT_ID, open });
await app.loginByLoopback();
const terminal = createInterface(process.stdin, process.stdout);
let line = "";
while (app.isLoggedIn && line !== "out") {
  const answer = await app.userinfo();
  console.log(answer.status, await answer.text());
  if (app.isLoggedIn) line = await terminal.question("Enter calls again, `out` logs out: ");
}
if (app.isLoggedIn) await app.logout();
console.log("logged out");
terminal.close();
