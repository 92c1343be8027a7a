// What the tests and the screenshots do with a browser: open the desk, click on it as people do, wait for what is seen.
import { chromium } from 'playwright-core';

export const address = process.env.DESK_URL;

export const launch = () =>
  chromium.launch({
    executablePath: process.env.DOORMAN_TEST_CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--no-first-run'],
  });

/**
 * A visitor with a browser profile of their own, or in another tab of one who is there. Errors on the console are
 * collected; `noise` names those that are expected.
 */
export async function visit(browser, { order, noise, beside, ...options } = {}) {
  if (beside) order ??= beside.order;
  const context = beside?.context ?? await browser.newContext({ viewport: { width: 1440, height: 1000 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const errors = [];
  page.on('console', (m) => {
    if (m.type() == 'error' && !noise?.test(m.text())) errors.push(m.text());
  });
  page.on('pageerror', (e) => errors.push(e.stack));
  await page.goto(`${address}/demo/${order ? '#' + order : ''}`);
  const v = new Visitor(page, context, errors);
  await v.settled();
  return v;
}

class Visitor {
  constructor(page, context, errors) {
    Object.assign(this, { page, context, errors });
  }

  /** The id of the order. */
  get order() {
    return new URL(this.page.url()).hash.slice(1);
  }

  /** Both lines that a new order begins with have landed, and everybody sees them. */
  settled() {
    return this.page.waitForFunction(() =>
      [...document.querySelectorAll('.card')].every((c) => c.querySelectorAll('.lines li').length > 1 && c.textContent.includes('All confirmed')));
  }

  card(name) {
    return this.page.locator(`.card[data-person=${name}]`);
  }

  more(name, article, times = 1) {
    return this.#times(this.card(name).getByLabel(`${article}: one more`), times);
  }

  async #times(button, n) {
    for (let i = 0; i < n; i++) await button.click();
  }

  /** Clicks on these buttons 20 ms apart, however busy the machine is that runs the test. */
  burst(selectors) {
    return this.page.evaluate(async (selectors) => {
      for (const s of selectors) {
        document.querySelector(s).click();
        await new Promise((r) => setTimeout(r, 20));
      }
    }, selectors);
  }

  /** Clicks on anything for so many ms, as chance has it, and puts all networks in order again. */
  monkey(seed, ms) {
    return this.page.evaluate(
      async ([seed, ms]) => {
        const random = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0), seed / 2 ** 32);
        const all = (selector) => [...document.querySelectorAll(selector)];
        const one = (list) => list[Math.floor(random() * list.length)]?.click();
        for (const end = performance.now() + ms; performance.now() < end; ) {
          const r = random();
          if (r < 0.15) one(all('.conflict .choices button').filter((b) => b.textContent != 'Edit'));
          else if (r < 0.3) one(all('[data-switch]'));
          else one(all('.quantity button:not(:disabled), .add, .remove, .powers fieldset button'));
          await new Promise((r) => setTimeout(r, 20 + random() * 100));
        }
        for (const on of all('[data-switch][aria-pressed=true]')) on.click();
      },
      [seed, ms],
    );
  }

  /** Gives up whatever is in conflict, until all is confirmed. */
  surrender() {
    return this.page.waitForFunction(
      () => {
        for (const b of document.querySelectorAll('.conflict .choices button')) if (b.textContent == 'Give up') b.click();
        return !document.querySelector('.conflict') && [...document.querySelectorAll('.waiting')].every((w) => w.textContent == 'All confirmed');
      },
      undefined,
      { polling: 100, timeout: 45_000 },
    );
  }

  /** Waits until all three see these lines. */
  agree(lines) {
    return this.page.waitForFunction(
      (lines) => [...document.querySelectorAll('.card')].every((c) => lines == [...c.querySelectorAll('.lines li')].map((l) =>
        `${l.querySelector('.article').firstChild.textContent} ${l.querySelector('input')?.value ?? l.querySelector('.pieces').textContent}`).join()),
      lines.join(),
    );
  }

  switch(name, what) {
    return this.card(name).locator(`[data-switch=${what}]`).click();
  }

  dialog(name) {
    return this.page.locator(`[data-conflict=${name}]`);
  }

  /** Waits until somebody sees so many pieces of an article. */
  sees(name, article, pieces) {
    return this.page.waitForFunction(
      ([name, article, pieces]) => {
        const line = [...document.querySelectorAll(`.card[data-person=${name}] .lines li`)].find((l) => l.textContent.includes(article));
        return line && (line.querySelector('input')?.value ?? line.querySelector('.pieces').textContent) == pieces;
      },
      [name, article, String(pieces)],
    );
  }

  /** Waits until nothing of somebody's is on its way. */
  confirmed(name) {
    return this.card(name).getByText('All confirmed').waitFor();
  }

  /** Waits until so many actions with that status are on the timeline. */
  actions(status, n) {
    return this.page.locator(`.node[data-status=${status}]`).nth(n - 1).waitFor();
  }

  /** What the server has of the order. */
  async changes() {
    const r = await fetch(`${address}/v1/streams/order/${this.order}/events?limit=500`);
    return (await r.json()).map((c) => `${c.command.actor} ${c.type} ${c.data.sku ?? c.data.owner ?? ''} ${c.data.qty ?? ''}`.trim());
  }
}
