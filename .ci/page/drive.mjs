// Drives the page in headless Chromium: `node drive.mjs SCENARIO URL`, with PAGE_MODULES naming a folder that has
// playwright-core and axe-core in it. What has to be done outside of the page is asked of whoever started this: a line
// `@["word", …]` on stdout, answered by a line of JSON on stdin. The exit code says whether the scenario holds.

import {createRequire} from "node:module";
import {readFileSync} from "node:fs";
import {createInterface} from "node:readline";

import {scenarios} from "./scenarios.mjs";

const require = createRequire(`${process.env.PAGE_MODULES}/`);
const {chromium} = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [name, url] = process.argv.slice(2);
const answers = createInterface({input: process.stdin})[Symbol.asyncIterator]();

/** Has something done outside, and returns what came of it. */
async function ask(word, ...details) {
  console.log(`@${JSON.stringify([word, ...details])}`);
  return JSON.parse((await answers.next()).value);
}

function expect(holds, ...seen) {
  if (!holds) throw new Error(seen.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join("\n"));
}

/** Polls until it returns something true, and returns that. */
async function until(what, probe, seconds = 8) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error.message;
    }
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}; last seen: ${JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

/** A tab that writes down what no scenario wants to see. */
async function open(browser, options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 860}, ...options});
  const page = await context.newPage();
  page.setDefaultTimeout(10000);
  const tab = {page, trouble: [], failed: []};
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    // An answer of 400 or more, or none: some scenarios want one.
    const isAnswer = message.text().startsWith("Failed to load resource");
    (isAnswer ? tab.failed : tab.trouble).push(message.text());
  });
  page.on("pageerror", (error) => tab.trouble.push(`an error in the script: ${error.stack}`));
  page.on("dialog", (dialog) => {
    tab.trouble.push(`a dialog of the browser: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const to = new URL(request.url());
    tab.origin ??= to.origin;
    if (to.protocol !== "data:" && to.origin !== tab.origin) tab.trouble.push(`a request to ${request.url()}`);
  });
  return tab;
}

/** What axe-core finds wrong with what is shown now. The inspector may run what the page's policy forbids. */
async function violations(page, scheme) {
  await page.emulateMedia({colorScheme: scheme, reducedMotion: "reduce"});
  const inspector = await page.context().newCDPSession(page);
  const evaluate = async (expression, awaitPromise) => {
    const {result, exceptionDetails} = await inspector.send("Runtime.evaluate", {
      expression, awaitPromise, returnByValue: true, allowUnsafeEvalBlockedByCSP: true,
    });
    expect(!exceptionDetails, "axe-core could not run", exceptionDetails ?? "");
    return result.value;
  };
  await evaluate(axe, false);
  const found = await evaluate(`axe.run(document, {resultTypes: ["violations"]}).then(({violations, passes}) => ({
    passed: passes.length, violations: violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.slice(0, 3).map(
      ({html, failureSummary}) => html.slice(0, 200) + ": " + failureSummary)})),
  }))`, true);
  expect(found.passed > 10, "axe-core looked at nothing", found);
  return found.violations;
}

const browser = await chromium.launch({
  executablePath: process.env.PAGE_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});
let status = 0;
const tabs = [];
try {
  const more = {ask, expect, until, url, violations, open: async (options) => {
    const tab = await open(browser, options);
    tabs.push(tab);
    return tab;
  }};
  const told = await scenarios[name](more);
  // The answers that a scenario provoked are its own business; all else is nobody's.
  expect(tabs.every(({trouble}) => !trouble.length), "in the console:", ...tabs.flatMap(({trouble}) => trouble));
  if (told) console.log(`=${told}`);
} catch (error) {
  status = 1;
  console.log(error.stack);
  for (const {page, trouble, failed} of tabs) {
    console.log("console:", JSON.stringify([...trouble, ...failed].slice(0, 10)));
    const text = await page.evaluate(() => document.body.innerText).catch(() => "");
    console.log(text.slice(0, 3000));
    if (process.env.PAGE_SHOTS) await page.screenshot({path: `${process.env.PAGE_SHOTS}/${name}.png`}).catch(() => null);
  }
}
await browser.close();
process.exit(status);
