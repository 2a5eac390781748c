// Somebody with a browser: one context of headless Chromium, and an eye on all that goes wrong in it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import axe from "axe-core";

const FAILURES = new URL("../failures/", import.meta.url).pathname;
const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// Runs `walk` with a new visitor, keeps a picture of the page where it failed, and lets nothing pass that the browser
// complained about.
export async function visit(browser, name, options, walk) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const complaints = [];
  // That a page was answered with an error status is no complaint: the walk looks at refusals itself.
  const isRefusal = (message) => message.text().startsWith("Failed to load resource") && message.location().url === page.url();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !isRefusal(message)) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("response", (answer) => {
    const isPart = answer.request().resourceType() !== "document";
    if (answer.status() >= 500 || (isPart && answer.status() >= 400)) complaints.push(`${answer.status()} ${answer.url()}`);
  });
  try {
    await walk(page, context);
    assert.deepEqual(complaints, [], "what the browser complained about");
  } catch (error) {
    await mkdir(FAILURES, { recursive: true });
    const picture = `${FAILURES}${name.replaceAll(/\W+/g, "-")}.png`;
    await page.screenshot({ path: picture, fullPage: true }).catch(() => {});
    error.message += `\nat ${page.url()}, pictured in ${picture}; the browser said ${JSON.stringify(complaints)}`;
    throw error;
  } finally {
    await context.close();
  }
}

// The page is in this language, has no finding of axe in light and in dark, and needs no sideways scrolling on the
// narrowest screen that WCAG speaks of (1.4.10).
export async function assertAccessible(page, language) {
  assert.equal(await page.getAttribute("html", "lang"), language);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate((tags) => globalThis.axe.run({ runOnly: tags }), WCAG);
    const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
    assert.deepEqual(found, [], `${page.url()} in ${colorScheme}`);
  }
  const size = page.viewportSize();
  await page.setViewportSize({ width: 320, height: 640 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 320, `${page.url()} is ${width} wide on a screen of 320`);
  await page.setViewportSize(size);
}
