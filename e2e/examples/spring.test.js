// The shop on Spring: its sessions end with the login, on three instances behind nginx.

import assert from "node:assert/strict";
import { Browser } from "../clients/browser.js";
import { lacks, settled } from "./examples.js";
import { threeInstances } from "./shops.js";

const quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-Dspring.main.lazy-initialization=true"];
const command = ["java", ...quick, "-jar", settled("spring/target/shop-0.jar")];
threeInstances("the shop on Spring", lacks.java("spring/target/shop-0.jar") ?? lacks.nginx(), command, "oidc", (it, shops) => {
  it("an attribute that cannot be read is not there, and locks nobody out", async () => {
    const [browser, { cli, gate, clientSecret }] = [new Browser(), shops()];
    await shops().logIn(browser);
    await shops().put(browser, "tea");
    await shops().put(browser, "lamp");
    const [{ apps }] = cli.call(shops(), "session", "list", "--user", "user");
    const authorization = `Basic ${Buffer.from(`shop:${clientSecret}`).toString("base64")}`;
    for (const garbage of ["", "no base64", Buffer.from("no object").toString("base64"), "rO0ABXNyAAdObyBTdWNo"]) {
      const headers = { authorization, "content-type": "application/json" };
      const body = JSON.stringify({ "cart.lamp": garbage });
      const written = await fetch(`http://127.0.0.1:${gate.port}/auth/api/v1/sessions/${apps[0].sid}/data`, { method: "PATCH", headers, body });
      assert.equal(written.status, 200);
      assert.equal(await shops().count(browser), 1, garbage);
    }
    await shops().put(browser, "lamp");
    assert.equal(await shops().count(browser), 2);
  });
});
