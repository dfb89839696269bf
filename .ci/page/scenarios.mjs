// What is seen and done on the page, each as one function; what they have in common is in drive.mjs.

/** The page, opened and filled. */
async function opened({open, url, until}, options = {}, fragment = "") {
  const tab = await open(options);
  const answer = await tab.page.goto(url + fragment);
  await until("the phase", async () => (await tab.page.textContent("#phase")) === "ready");
  await live(tab.page, until);
  return {...tab, answer};
}

const live = (page, until) => until("the records are followed", async () =>
  (await page.textContent("#tail-state")).startsWith("live"));
const paths = (page) => page.locator("#records tr.record td.path").allTextContents();
const tile = (page, name) => page.locator(`.tile.${name} .value`).textContent();
const number = (text) => Number(text.replaceAll(/[^\d.-]/g, "") || NaN);
/** Whether somebody has to scroll sideways. */
const isTooWide = (page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
/** Presses a button, and answers the question that it asks. */
async function sure(page, button, answer = "#ask-yes") {
  await page.click(button);
  await page.waitForSelector("#ask[open]");
  const text = await page.textContent("#ask");
  await page.click(answer);
  return text;
}

export const scenarios = {
  async loads(the) {
    const {ask, until, expect} = the;
    const {page, failed, answer} = await opened(the);
    const policy = answer.headers()["content-security-policy"];
    expect(answer.status() === 200 && policy.includes("script-src 'sha256-"), answer.headers());
    await ask("get", "/a-second-ago?secret=1");
    const asked = Date.now();
    await until("a request made now", async () => (await paths(page)).includes("/a-second-ago"), 2);
    const took = Date.now() - asked;
    const row = page.locator("#records tr.record", {hasText: "/a-second-ago"});
    expect((await row.locator("td.status").textContent()) === "200", await row.textContent());
    expect(!(await page.content()).includes("secret"), "the query is shown");
    await until("the request is counted", async () => number(await page.locator(".tile.rate .more").textContent()) >= 1, 3);
    expect(!failed.length, "answers that are no good:", failed);
    return `shown ${took} ms after its answer`;
  },

  async measures(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    const before = number(await page.locator(".tile.rate .more").textContent());
    await ask("load", 120);
    const legend = async (name) => number(await page.locator(`#rates-legend .s-${name} b`).textContent());
    await until("a rate of what was answered and of what was not found", async () => (
      (await legend("2xx")) > 0 && (await legend("4xx")) > 0 && (await legend("5xx")) > 0
    ));
    await until("all are counted", async () => number(await page.locator(".tile.rate .more").textContent()) === before + 120);
    const p50 = await until("a median", async () => {
      const text = await tile(page, "p50");
      return /\d ms/.test(text) && number(text);
    });
    const slow = await until("a slow hundredth", async () => {
      const text = await tile(page, "p99");
      return /\d/.test(text) && text;
    });
    // The app takes 2 ms, and 300 where it is asked for something slow: one in ten.
    expect(p50 > 0.2 && p50 < 100, `p50 ${p50}`);
    const p99 = slow.includes(" s") ? number(slow) * 1000 : number(slow);
    expect(p99 >= 250 && p99 <= 2500, `p99 ${slow}`);
    const errors = number(await tile(page, "errors"));
    expect(errors > 5 && errors < 15, `${errors} % errors, where one in ten is`);
    const drawn = (kind) => page.locator(`#rates path.bar.s-${kind}`).getAttribute("d");
    await until("bars of each class", async () => (await drawn("2xx")) && (await drawn("4xx")) && (await drawn("5xx")));
    expect(await page.locator("#latency path.line.l-p99").getAttribute("d"), "no line of percentiles");
    return `p50 ${p50} ms, p99 ${slow}, ${errors} % errors`;
  },

  /** More than anybody can read. */
  async floods(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    const rows = () => page.locator("#records tr").count();
    const done = ask("flood", 4000);
    let [slowest, most] = [0, 0];
    const watch = (async () => {
      for (let look = 0; look < 20; look += 1) {
        const began = Date.now();
        most = Math.max(most, await rows());
        slowest = Math.max(slowest, Date.now() - began);
        await page.waitForTimeout(50);
      }
    })();
    await Promise.all([done, watch]);
    const skipped = async () => number(/([\d,]+) skipped/.exec(await page.textContent("#tail-state"))?.[1] ?? "");
    expect(most <= 301 && (await rows()) === 300, `${most} rows, ${await rows()} at the end`);
    expect(slowest < 1500, `${slowest} ms until the page answers`);
    await page.keyboard.press("p");
    const before = (await skipped()) || 0;
    await ask("flood", 1000);
    await until("300 wait, and the rest is counted", async () => (
      /300 waiting/.test(await page.textContent("#tail-state")) && (await skipped()) >= before + 700
    ));
    await page.keyboard.press("p");
    await ask("get", "/after-the-flood");
    await until("what comes after it", async () => (await paths(page))[0] === "/after-the-flood");
    return `${await skipped()} of 5000 skipped, the page answers within ${slowest} ms`;
  },

  async filters(the) {
    const {ask, until, expect, open, url} = the;
    for (const path of ["/filter/one", "/filter/missing", "/other/one"]) await ask("get", path);
    const {page} = await opened(the);
    const asked = [];
    page.on("request", (request) => request.url().includes("/logs") && asked.push(request.url()));
    await page.fill("[name=path]", "/filter/");
    await until("only what begins so", async () => (await paths(page)).join() === "/filter/missing,/filter/one");
    await page.fill("[name=status]", "4xx");
    await until("only what was not found", async () => (await paths(page)).join() === "/filter/missing");
    const {searchParams} = new URL(asked.at(-1));
    const isAsked = searchParams.get("status") === "4xx" && searchParams.get("path") === "/filter/";
    expect(isAsked, "the server was not asked", asked);
    await ask("get", "/other/missing");
    await ask("get", "/filter/missing-too");
    await until("what comes and meets it", async () => (await paths(page)).join() === "/filter/missing-too,/filter/missing");
    expect(page.url().endsWith("#path=%2Ffilter%2F&status=4xx"), page.url());

    // Somebody else opens the same address.
    const other = await open();
    await other.page.goto(page.url());
    await until("the shared view", async () => (await paths(other.page)).join() === "/filter/missing-too,/filter/missing");
    expect((await other.page.inputValue("[name=status]")) === "4xx", "the form is empty");

    await page.fill("[name=status]", "teapot");
    await until("what is wrong with it", async () => (await page.textContent("#filter-answer")).includes("status=teapot is not"));
    await page.click("#clear");
    await until("all of them", async () => (await paths(page)).includes("/other/one"));
    expect(page.url() === url, page.url());
    await page.click("#rates-legend .s-4xx");
    await until("a class is chosen by its key", async () => (
      (await page.inputValue("[name=status]")) === "4xx" && !(await paths(page)).includes("/other/one")
    ));
    await page.selectOption("[name=kind]", "audit");
    await page.fill("[name=status]", "");
    await until("audit records", async () => (await paths(page)).some((text) => text.startsWith("certificate_reload")));
  },

  /** All of it with keys only. */
  async keyboard(the) {
    const {ask, until, expect} = the;
    await ask("get", "/older");
    const {page} = await opened(the);
    await ask("get", "/newer");
    await until("two rows", async () => (await paths(page)).includes("/newer"));
    const focused = () => page.evaluate(() => {
      const {id, name, className, tagName} = document.activeElement;
      return id || name || className || tagName;
    });
    const visited = [];
    for (let step = 0; step < 45; step += 1) {
      await page.keyboard.press("Tab");
      const now = await focused();
      if (now === "BODY") break;
      visited.push(now);
      const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      expect(ring !== "none", `the focus on ${now} is not seen`);
    }
    const stops = [
      "skip", "theme", "help", "drain", "pause", "path", "status", "method", "min_ms", "client", "reason", "kind", "open", "url",
      "confirm_within", "probe", "reload",
    ];
    for (const wanted of stops) {
      expect(visited.includes(wanted), `${wanted} is not reached`, visited);
    }
    expect(visited.filter((one) => one === "open").length === 1, "the rows are one stop", visited);

    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("/");
    expect((await focused()) === "path", "the filter has the focus");
    await page.keyboard.type("/p?");
    await page.waitForTimeout(50);
    expect((await page.inputValue("[name=path]")) === "/p?" && !(await page.isVisible("#keys")), "keys act while somebody types");
    await page.keyboard.press("Control+A");
    await page.keyboard.press("Delete");
    await page.keyboard.press("Escape");
    expect((await focused()) === "BODY", "Escape leaves the field");
    await live(page, until);
    await until("the rows are back", async () => (await paths(page)).includes("/older"));

    // A row opens, its neighbour is reached by an arrow, and all of the record is there.
    await page.locator("button.open[tabindex='0']").focus();
    const first = (await paths(page))[0];
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Enter");
    await page.waitForSelector("tr.detail");
    const fields = await page.locator("tr.detail dt").allTextContents();
    const some = ["id", "path", "status", "duration_ms", "tls", "user_agent", "client"];
    expect(some.every((name) => fields.includes(name)), fields);
    expect((await page.getAttribute("button.open:focus", "aria-expanded")) === "true", "it does not say that it is open");
    // What comes meanwhile does not move it.
    await ask("get", "/meanwhile");
    await until("it waits", async () => /1 waiting/.test(await page.textContent("#tail-state")));
    expect((await paths(page))[0] === first, await paths(page));
    await page.keyboard.press("Enter");
    await until("it goes on", async () => (await paths(page))[0] === "/meanwhile");
    expect((await page.locator("tr.detail").count()) === 0, "it stays open");

    await page.keyboard.press("p");
    await ask("get", "/paused");
    await until("one waits", async () => /^paused, 1 waiting/.test(await page.textContent("#tail-state")));
    expect(!(await paths(page)).includes("/paused"), "shown while paused");
    await page.keyboard.press("p");
    await until("it goes on", async () => (await paths(page))[0] === "/paused");
    await page.keyboard.press("?");
    expect(await page.isVisible("#keys"), "no keys are told");
    await page.keyboard.press("Escape");
    expect(!(await page.isVisible("#keys")), "they stay");
    return `${visited.length} stops`;
  },

  async target(the) {
    const {ask, until, expect} = the;
    const {page, failed} = await opened(the);
    const {first, second, nobody} = await ask("targets");
    const url = () => page.textContent("#target-url");
    const answer = () => page.textContent("#target-answer");
    await until("the target", async () => (await url()) === first);
    // A question that is answered with no changes nothing.
    await page.fill("[name=url]", second);
    const question = await sure(page, "#target-form .primary", "#ask-no");
    expect(question.includes(first) && question.includes(second) && question.includes("60s"), question);
    expect((await ask("target")).url === first, "it was changed");
    // Nobody answers there.
    await page.fill("[name=url]", nobody);
    await sure(page, "#target-form .primary");
    await until("why not", async () => (await answer()).includes("nothing was changed"));
    expect((await ask("target")).url === first, "it was changed");

    await page.fill("[name=url]", second);
    await sure(page, "#target-form .primary");
    await until("the new one", async () => (await url()) === second);
    await until("the question whether it stays", async () => (
      /Returns to .* in \d+ s|1 min/.test(await page.textContent("#trial-text"))
    ));
    const left = async () => number(/in (\d+) s/.exec(await page.textContent("#trial-text"))?.[1] ?? "");
    const before = await until("the seconds", left);
    await until("they count down", async () => (await left()) < before);
    await page.click("#confirm");
    await until("it stays", async () => (await answer()).includes("It stays") && !(await page.isVisible("#trial")));
    const confirmed = await ask("target");
    expect(confirmed.url === second && !confirmed.trial, confirmed);
    await until("it differs", async () => (await page.textContent("#target-state")) === "changed at run time");

    // Somebody else was faster: what was seen is no more.
    await page.fill("[name=url]", first);
    await page.click("#target-form .primary");
    await page.waitForSelector("#ask[open]");
    await ask("change", first);
    await until("the page sees that", async () => (await url()) === first);
    await page.click("#ask-yes");
    await until("it is refused", async () => (
      /nothing was changed/.test(await answer()) && failed.some((text) => text.includes("412"))
    ));
    await ask("change", second);
    await until("the page sees that, too", async () => (await url()) === second);

    const sentences = await sure(page, "#revert");
    expect(sentences.includes(first), sentences);
    await until("the configured one", async () => (await url()) === first);
    await page.waitForSelector("#revert", {state: "hidden"});

    // Nobody confirms.
    await page.fill("[name=url]", second);
    await page.fill("[name=confirm_within]", "1s");
    await sure(page, "#target-form .primary");
    await until("the new one", async () => (await url()) === second);
    await until("it is undone, and the page says so", async () => (
      (await url()) === first && /Undone/.test(await page.textContent("#target-notes"))
    ));
  },

  async locked(the) {
    const {until, expect} = the;
    const {page} = await opened(the);
    await until("it says so", async () => (await page.textContent("#target-state")) === "locked");
    expect(await page.isDisabled("[name=url]") && await page.isDisabled("#target-form .primary"), "it can be changed");
    expect((await page.textContent("#target-notes")).includes("--target-locked"), await page.textContent("#target-notes"));
  },

  async certificates(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    const shown = (selector) => page.locator(selector).allTextContents();
    const {fingerprint} = await ask("served");
    await until("the certificate", async () => (await shown("#parts h3")).includes("localhost"));
    const left = (await shown("#parts .left"))[0];
    expect(/^\d+ (hours|days) left$/.test(left), left);
    expect((await shown("#parts .validity")).join().match(/good|renew now|ends soon/), "no word for how long");
    await page.click("#parts summary");
    const facts = (await shown("#parts details dd")).join(" ");
    expect(facts.includes(fingerprint) && facts.includes("the same"), facts);
    await page.click("#reload");
    await until("nothing new", async () => (await page.textContent("#reload-answer")).includes("Nothing new on disk"));
    await ask("spoil");
    await until("what is wrong, in words", async () => (
      (await shown("#parts .trouble.bad")).some((text) => text.startsWith("Not loaded:"))
    ));
    await page.click("#reload");
    await until("a reload says so, too", async () => /is still served/.test(await page.textContent("#reload-answer")));
    await ask("renew");
    await until("the new one", async () => (await page.textContent("#generation")) === "generation 2");
    await until("the history of it, newest first", async () => {
      const tags = await shown("#history .tag");
      return tags[0] === "published" && tags.includes("failed") && tags.includes("unchanged") && tags.at(-1) === "published";
    });
    const history = await shown("#history li");
    expect(history.some((text) => /failed.*generation 1, by notify.*does not match/s.test(text)), history);
    expect((await page.locator("#parts details").first().getAttribute("open")) !== null, "the details were closed");
    const renewed = await ask("served");
    await until("the new fingerprint", async () => (await shown("#parts details dd")).join(" ").includes(renewed.fingerprint));
    return left;
  },

  async restart(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    await ask("get", "/before-the-end");
    await until("a row", async () => (await paths(page)).includes("/before-the-end"));
    await page.waitForTimeout(1100);
    await ask("kill");
    await until("it says so", async () => (
      (await page.textContent("#notices")).includes("Reconnecting") && (await page.textContent("#phase")) === "reconnecting"
    ));
    await ask("start");
    await until("it is back by itself", async () => (await page.textContent("#phase")) === "ready", 8);
    await until("nothing is said any more", async () => !(await page.textContent("#notices")).includes("Reconnecting"));
    await live(page, until);
    await ask("get", "/after-it");
    await until("what came since", async () => (await paths(page))[0] === "/after-it");
    const all = await page.locator("#records tr").allTextContents();
    const mark = all.findIndex((text) => text.includes("has begun anew"));
    expect(mark > 0 && all.findIndex((text) => text.includes("/before-the-end")) > mark, "no mark between then and now", all);
    await until("the chart has its mark", () => page.locator("#rates .restart").count());
    await page.waitForTimeout(2200);
    const values = await page.locator("#glance dd, .legend b, #connections dd").allTextContents();
    expect(!values.some((text) => /(^|\s)-|−\d|NaN|undefined|Infinity/.test(text)), "a rate below zero, or none", values);
  },

  async hostile(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    await ask("hostile");
    const texts = await until("all of them", async () => {
      const all = await paths(page);
      return all.some((path) => path.startsWith("/www")) && all;
    });
    const all = texts.join("\n");
    for (const wanted of ["/'onerror=document.title='owned'//", "⟨U+202E⟩gpj.exe", "%3Cimg%20src=x"]) {
      expect(all.includes(wanted), `not shown as it is: ${wanted}`, texts);
    }
    for (const button of await page.locator("button.open").all()) await button.click();
    const detail = (await page.locator("tr.detail").allTextContents()).join("\n");
    expect(detail.includes("\"><svg onload=document.title='owned'>"), detail);
    expect(detail.includes("⟨U+2066⟩⟨U+202E⟩evil⟨U+200B⟩"), detail);
    expect(detail.includes("</td><script>document.title='owned'</script>"), detail);
    expect(detail.includes("javascript:document.title='owned'"), detail);
    const content = await page.evaluate(() => document.body.innerText);
    expect(!/[\u202a-\u202e\u2066-\u2069\u200b]/.test(content), "a sign that turns text stands there as it came");
    expect((await page.locator("#records :is(img, script, svg, iframe, a)").count()) === 0, "markup of a client");
    // What the plane's own answers repeat, too.
    const markup = "<img src=x onerror=document.title='owned'>";
    await page.fill("[name=status]", markup);
    await until("what is wrong with it", async () => (await page.textContent("#filter-answer")).includes(markup));
    await page.fill("[name=url]", `http://${markup}`);
    await sure(page, "#target-form .primary");
    await until("what is wrong with that", async () => (await page.textContent("#target-answer")).includes(markup));
    expect((await page.locator("main :is(img, script, iframe)").count()) === 0, "markup of an answer");
    expect(!(await page.title()).includes("owned"), await page.title());
    expect(!(await isTooWide(page)), "it widens the page");
  },

  /** A plane of another version, or one that has gone mad: what is not there is not shown. */
  async sparse(the) {
    const {until, expect, open, url} = the;
    const {page} = await open();
    const bodies = {
      "/status": [
        {}, {phase: "ready", counts: {}, target: {}, certificate: {}, new_field: [1]},
        {phase: 7, counts: {connections: null}, certificate: {parts: [{}]}},
      ],
      "/metrics": ["", [
        "garbage", "{}", 'portcullis_requests_total{code="999",x="a\\"b"} NaN', 'portcullis_requests_total{code="200"} 5',
        'portcullis_unheard_of{a="b"} 7', "",
      ].join("\n")],
      "/certs": [{}, {parts: [{}, {chain: [{}], kind: "new"}], history: [{}]}],
      "/target": [{}],
      "/logs": [[
        "not json", "null", "5", "[]", "{}", '{"kind":"new","path":7,"duration_ms":"x","status":{}}',
        '{"kind":"exchange","path":"/whole","status":200}', "",
      ].join("\n")],
    };
    const asked = {};
    await page.route((to) => to.pathname in bodies, (route) => {
      const path = new URL(route.request().url()).pathname;
      asked[path] = (asked[path] ?? -1) + 1;
      const body = bodies[path][asked[path] % bodies[path].length];
      return route.fulfill({status: 200, body: typeof body === "string" ? body : JSON.stringify(body)});
    });
    await page.goto(url);
    await until("each was asked for again and again", () => asked["/status"] > 4 && asked["/certs"] > 2, 10);
    await until("a whole record among the others", async () => (await paths(page)).includes("/whole"));
    for (const button of await page.locator("button.open").all()) await button.click();
    const text = await page.evaluate(() => document.body.innerText);
    expect(!/NaN|undefined|Infinity|Invalid/.test(text), text);
  },

  async token(the) {
    const {ask, until, expect, open, url} = the;
    const {read, write} = await ask("tokens");
    const {page} = await open();
    await page.goto(url);
    await page.waitForSelector("#gate:not([hidden])");
    expect((await page.evaluate(() => document.activeElement.id)) === "token", "the field has the focus");
    expect((await page.textContent("#gate-answer")) === "", "nothing is wrong yet");
    const give = async (tab, token) => {
      await tab.fill("#token", token);
      await tab.keyboard.press("Enter");
    };
    await give(page, "0000000000000000wrong");
    await until("it is wrong", async () => (await page.textContent("#gate-answer")).includes("not in --admin-token-file"));
    await give(page, read);
    await page.waitForSelector("#house:not([hidden])");
    await ask("get", "/with-a-token");
    await until("the records are followed with it", async () => (await paths(page)).includes("/with-a-token"));
    await sure(page, "#drain");
    await until("it may only read, and the page says so", async () => (
      /may only read/.test(await page.textContent("#notices")) && await page.isVisible("#scope")
    ));
    await page.click("#reload");
    await until("nor may it reload", async () => /may only read/.test(await page.textContent("#reload-answer")));
    expect((await ask("phase")) === "ready", "it drains");

    const [own, ...others] = await page.evaluate(() => [
      Object.values(sessionStorage), Object.values(localStorage), document.cookie, location.href,
    ]);
    const isElsewhere = JSON.stringify(others).includes(read);
    expect(own.includes(read) && !isElsewhere, "kept elsewhere than in this tab", own, others);
    await page.reload();
    await page.waitForSelector("#house:not([hidden])");
    const other = await open();
    await other.page.goto(url);
    await other.page.waitForSelector("#gate:not([hidden])");

    await page.click("#forget");
    await page.waitForSelector("#gate:not([hidden])");
    expect(!(await page.evaluate(() => JSON.stringify(sessionStorage))).includes(read), "it is not forgotten");
    await give(page, write);
    await page.waitForSelector("#house:not([hidden])");
    await page.click("#reload");
    await until("this one may", async () => /Nothing new on disk/.test(await page.textContent("#reload-answer")));
    expect(!(await page.isVisible("#scope")), "it is not the read-only one");
    // Taken from the file.
    await ask("revoke");
    await page.waitForSelector("#gate:not([hidden])");
    expect((await page.textContent("#gate-answer")).includes("not any more"), await page.textContent("#gate-answer"));
  },

  async drain(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    const question = await sure(page, "#drain", "#ask-no");
    expect(question.includes("cannot be undone") && question.includes("not ready from now on"), question);
    expect((await ask("phase")) === "ready", "it drains");
    expect((await page.evaluate(() => document.activeElement.id)) === "drain", "the focus is lost");
    await sure(page, "#drain");
    await until("how far it is", async () => /Draining: .* left/.test(await page.textContent("#notices")));
    expect(await page.isDisabled("#drain"), "it can be asked for again");
    const isOver = async () => (await page.textContent("#phase")) === "stopped" && /Drained/.test(await page.textContent("#notices"));
    await until("the end of it", isOver, 12);
    expect((await ask("phase")) === "stopped", "it does not drain");
  },

  async accessible(the) {
    const {ask, until, expect, open, violations} = the;
    await ask("load", 30);
    const {page} = await opened(the);
    await until("rows", async () => (await paths(page)).length > 20);
    await page.locator("button.open").nth(1).click();
    await page.click("#parts summary");
    await page.fill("[name=url]", (await ask("targets")).second);
    await sure(page, "#target-form .primary");
    await page.waitForSelector("#trial:not([hidden])");
    const states = [["the page", async () => {}], ["a question", () => page.click("#drain")], ["the keys", async () => {
      await page.click("#ask-no");
      await page.click("#help");
    }]];
    let seen = 0;
    for (const [what, act] of states) {
      await act();
      for (const scheme of ["light", "dark"]) {
        const found = await violations(page, scheme);
        expect(!found.length, `${what}, ${scheme}:`, ...found);
        seen += 1;
      }
    }
    const {page: gate} = await open();
    await gate.goto((await ask("guarded")).url);
    await gate.waitForSelector("#gate:not([hidden])");
    for (const scheme of ["light", "dark"]) {
      const found = await violations(gate, scheme);
      expect(!found.length, `the form for a token, ${scheme}:`, ...found);
      seen += 1;
    }
    return `${seen} looks`;
  },

  async fits(the) {
    const {ask, until, expect} = the;
    await ask("load", 30);
    // A narrow screen, and 1280 pixels at 200 %.
    for (const [width, scale] of [[400, 2], [640, 2], [900, 1], [1280, 1], [1920, 1]]) {
      const {page} = await opened(the, {viewport: {width, height: 800}, deviceScaleFactor: scale});
      await until("rows", async () => (await paths(page)).length > 20);
      expect(!(await isTooWide(page)), `${width} px: it has to be scrolled sideways`);
      await page.locator("button.open").nth(1).click();
      expect(!(await isTooWide(page)), `${width} px, a row open: it has to be scrolled sideways`);
      const hidden = await page.evaluate(() => {
        const all = document.querySelectorAll("main:not([hidden]) :is(button, input), header button");
        const seen = [...all].filter((element) => element.checkVisibility() && !element.closest(".rows"));
        const isOut = ({left, right}) => right > innerWidth || left < 0;
        return seen.filter((element) => isOut(element.getBoundingClientRect())).map(({id, name}) => id || name);
      });
      expect(!hidden.length, `${width} px: out of sight`, hidden);
      await page.context().close();
    }
  },

  /** The colours that somebody chose are there the next time. */
  async colours(the) {
    const {expect, until} = the;
    const {page} = await opened(the, {colorScheme: "light"});
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.click("#theme");
    expect((await ground()) === light && (await page.getAttribute("#theme", "aria-label")).endsWith("light"), "light is chosen");
    await page.click("#theme");
    const dark = await ground();
    expect(dark !== light, "dark is no other");
    await page.reload();
    await until("the choice", async () => (await ground()) === dark);
    await page.click("#theme");
    expect((await ground()) === light, "the system's is light");
    await page.emulateMedia({colorScheme: "dark"});
    expect((await ground()) === dark, "the system's is dark now");
  },

  /** Asks for nothing while nobody looks, and goes on when somebody does. */
  async hidden(the) {
    const {ask, until, expect} = the;
    const {page} = await opened(the);
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    const look = (isHidden) => page.evaluate((isHidden) => {
      Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
    await until("it looks", () => asked.length > 2);
    await look(true);
    await page.waitForTimeout(400);
    asked.length = 0;
    await ask("get", "/unseen");
    await page.waitForTimeout(1500);
    expect(!asked.length, "it asks while nobody looks", asked);
    await look(false);
    await until("what came meanwhile", async () => (await paths(page))[0] === "/unseen", 2);
  },
};

/** Pictures for the README: `loads` is for checks, this for people. */
scenarios.pictures = async ({open, url, until, ask}) => {
  const into = process.env.PAGE_PICTURES;
  const tabs = [];
  for (const scheme of ["light", "dark"]) {
    const {page} = await open({colorScheme: scheme, viewport: {width: 1280, height: 860}, reducedMotion: "reduce"});
    await page.goto(url);
    tabs.push([page, scheme]);
  }
  await ask("traffic");
  await until("five minutes of traffic", () => ask("is_enough"), 400);
  for (const [page, scheme] of tabs) await page.screenshot({path: `${into}/page-${scheme}.png`});
};
