// Two people in real browsers, on a real server: node browsers.js URL CHROMIUM. Leaves with 0 when both end with the
// server's state, a conflict was told to who it concerned, tabs shared a connection, and a reload lost nothing.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BrowserContext, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { clock } from '../../src/index.ts';

const [url, executablePath] = process.argv.slice(2) as [string, string];
const name = `document/${clock.id()}`;

const page = (user: string) => `<!doctype html><b></b><p></p><script type="module">
import { connect } from '/client.js';
import { persist } from '/client/persist.js';
import { share } from '/client/share.js';
const client = connect('', { actor: '${user}', persist: persist(), share: share() });
const stream = client.stream('${name}', { initial: {}, predict: { create: (_, d) => d, patch: (s, d) => ({ ...s, ...d }) } });
stream.subscribe(() => {
  const { state, conflict, pending } = stream;
  document.querySelector('b').textContent = JSON.stringify(state);
  document.querySelector('p').textContent =
    (conflict ? conflict.reason + ' by ' + conflict.theirs?.command.actor : 'none') + ', ' + pending.length + ' pending';
});
Object.assign(window, { client, stream });
</script>`;

const browser = await chromium.launch({
  executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
});

/** A person's browser; connections that are open are counted. */
async function person(user: string): Promise<{ context: BrowserContext; open(): Promise<Page>; connections: Set<unknown> }> {
  const context = await browser.newContext();
  const connections = new Set<unknown>();
  await context.route('**/page', (r) => r.fulfill({ contentType: 'text/html', body: page(user) }));
  context.on('request', (q) => q.url().endsWith('/v1/notifications') && connections.add(q));
  for (const over of ['requestfinished', 'requestfailed'] as const) context.on(over as 'requestfailed', (q) => connections.delete(q));
  const open = async () => {
    const p = await context.newPage();
    p.on('pageerror', (e) => console.error(user, e));
    await p.goto(`${url}/page`);
    return p;
  };
  return { context, open, connections };
}

const shows = (p: Page, state: object, rest = 'none, 0 pending') =>
  p.waitForFunction(
    ([s, r]) => document.querySelector('b')!.textContent == s && document.querySelector('p')!.textContent == r,
    [JSON.stringify(state), rest] as const, { timeout: 30_000 },
  ).catch(async (e) => assert.fail(`${await p.textContent('body')} instead of ${JSON.stringify(state)} ${rest}: ${e}`));
const send = (p: Page, type: string, data: object) => p.evaluate(([t, d]) => void (window as any).stream.send(t, d), [type, data] as const);

const [ann, bob] = [await person('Ann'), await person('Bob')];
const [a, b] = [await ann.open(), await bob.open()];
await send(a, 'create', { title: 'Draft' });
for (const p of [a, b]) await shows(p, { title: 'Draft' });

// Both change it at once. Whoever is second is told who was first, and insists.
await bob.context.route('**/v1/commands', async (r) => {
  await shows(a, { title: "Ann's" });
  await r.continue();
});
await Promise.all([send(b, 'patch', { title: "Bob's" }), send(a, 'patch', { title: "Ann's" })]);
await shows(b, { title: "Ann's" }, 'stale_ticket by Ann, 1 pending');
await bob.context.unroute('**/v1/commands');
await b.evaluate(() => (window as any).stream.conflict.retry());
for (const p of [a, b]) await shows(p, { title: "Bob's" });

// A second tab has what the first one has, over the same connection, also when the first one is closed.
const second = await ann.open();
await shows(second, { title: "Bob's" });
assert.equal(ann.connections.size, 1);
await send(second, 'patch', { by: 'second' });
for (const p of [a, b, second]) await shows(p, { title: "Bob's", by: 'second' });
await a.close();
await send(second, 'patch', { by: 'left' });
for (const p of [b, second]) await shows(p, { title: "Bob's", by: 'left' });

// What could not be sent when the page was reloaded is sent by the page that comes back.
await bob.context.route('**/v1/commands', (r) => r.abort());
const left = b.waitForRequest('**/v1/commands'); // It is kept before that.
await send(b, 'patch', { kept: true });
await shows(b, { title: "Bob's", by: 'left', kept: true }, 'none, 1 pending');
await left;
await b.reload();
await bob.context.unroute('**/v1/commands');
for (const p of [b, second]) await shows(p, { title: "Bob's", by: 'left', kept: true });
const events: any = await (await fetch(`${url}/v1/streams/${name}/events`)).json();
assert.deepEqual(events.map((e: any) => e.command.actor), ['Ann', 'Ann', 'Bob', 'Ann', 'Ann', 'Bob']);

// It works in a service worker too, of a site that is another origin.
const site = createServer((q, r) => {
  r.setHeader('content-type', q.url == '/sw.js' ? 'text/javascript' : 'text/html');
  r.end(q.url != '/sw.js' ? '<!doctype html>' : `import { connect } from '${url}/client.js';
addEventListener('message', (e) => e.waitUntil((async () => {
  const client = connect('${url}', { actor: 'worker' });
  const { status } = await client.stream('${name}').send('patch', { worker: true }).outcome;
  client.close();
  e.ports[0].postMessage(status);
})()));`);
});
site.listen(0, '127.0.0.1');
await once(site, 'listening');
const c = await browser.newPage();
await c.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
const status = await c.evaluate(async () => {
  await navigator.serviceWorker.register('/sw.js', { type: 'module' });
  const { active } = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  return new Promise((r) => {
    port1.onmessage = (e) => r(e.data);
    active!.postMessage(0, [port2]);
  });
});
assert.equal(status, 'landed');
await shows(b, { title: "Bob's", by: 'left', kept: true, worker: true });
site.close();
console.log('both saw the same');
await browser.close();
