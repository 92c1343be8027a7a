// Much to do in a real browser, on a real server: node load.js URL ADMIN CHROMIUM [figures]. Leaves with 0 when all of
// a burst landed in order, many tabs held one connection, and POSTs got through beside the connections that stay
// open. With "figures" it does as much as the goals speak of, and prints what it measured beside them.
import assert from 'node:assert/strict';
import type { Browser, BrowserContext, CDPSession, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { clock } from '../../src/index.ts';

const [url, admin, executablePath, figures] = process.argv.slice(2) as [string, string, string, string?];
const size = figures
  ? { burst: 10_000, bursts: 5, pending: 1_000, changes: 60, tabs: 10, streams: 50, actions: 300 }
  : { burst: 400, bursts: 1, pending: 200, changes: 3, tabs: 3, streams: 6, actions: 5 };
const rows: string[][] = [];
const figure = (what: string, goal: string, measured: string) => rows.push([what, goal, measured]);
const ms = (n: number) => `${n.toFixed(1)} ms`;
const at = (all: number[], part: number) => all.sort((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * part))]!;

/** What every page has: the modules, what took long, and how long each frame's work was. */
const tools = `
import { connect } from '/client.js';
import { share } from '/client/share.js';
const long = [], frames = [];
new PerformanceObserver((l) => long.push(...l.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
const draw = requestAnimationFrame;
window.requestAnimationFrame = (fn) => draw((t) => {
  const began = performance.now();
  fn(t);
  frames.push(performance.now() - began);
});
const real = fetch;
let held = false;
window.fetch = (to, init) => (held && to.endsWith('/v1/commands') ? new Promise(() => {}) : real(to, init));
const shown = (stream, is) => new Promise((done) => {
  const end = stream.subscribe(() => is() && (end(), done()));
  if (is()) end(), done();
});
const open = (name, options, by) => {
  const stream = connect('', options).stream(name, { initial: {}, predict: { create: (_, d) => d, patch: (s, d) => ({ ...s, ...d }) } });
  const place = document.body.appendChild(document.createElement('p'));
  stream.subscribe(() => (place.textContent = JSON.stringify(stream.state) + stream.pending.length));
  return stream;
};
Object.assign(window, { connect, share, long, frames, shown, open, hold: () => (held = true), loaded: true });
`;

const browser = await chromium.launch({
  executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
});

/** A page of the server's own, on which nothing stands between the client and the network. */
async function tab(context: BrowserContext): Promise<Page> {
  const p = await context.newPage();
  p.on('pageerror', (e) => console.error(e));
  await p.goto(`${url}/livez`);
  await p.addScriptTag({ type: 'module', content: tools });
  await p.waitForFunction('window.loaded');
  return p;
}

async function alone(work: (p: Page, context: BrowserContext) => Promise<void>): Promise<void> {
  const context = await browser.newContext();
  await work(await tab(context), context);
  await context.close();
}

async function heap(c: CDPSession): Promise<number> {
  await c.send('HeapProfiler.collectGarbage');
  return (await c.send('Runtime.getHeapUsage')).usedSize;
}

/** The tasks of the page's main thread, in ms: how long they took, and how long they had a processor. */
async function tasks(b: Browser, p: Page, work: () => Promise<void>): Promise<{ wall: number; cpu: number }> {
  await b.startTracing(p, { categories: ['disabled-by-default-devtools.timeline', '__metadata'] });
  await work();
  const { traceEvents: all } = JSON.parse((await b.stopTracing()).toString()) as { traceEvents: any[] };
  const mains = new Set(all.filter((e) => e.name == 'thread_name' && e.args.name == 'CrRendererMain').map((e) => `${e.pid} ${e.tid}`));
  const ran = all.filter((e) => e.name == 'RunTask' && mains.has(`${e.pid} ${e.tid}`));
  const most = (of: string) => ran.reduce((m, e) => Math.max(m, (e[of] ?? 0) / 1e3), 0);
  return { wall: most('dur'), cpu: most('tdur') };
}

/** How many connections the server counts, once it counts so many; or what it counts at last. */
async function connections(is: number): Promise<number> {
  const until = Date.now() + 30_000;
  for (;;) {
    const text = await (await fetch(`${admin}/metrics`)).text();
    const n = +(/^doorman_notify_connections (\S+)$/m.exec(text)?.[1] ?? 0);
    if (n == is || Date.now() > until) return n;
    await new Promise((r) => setTimeout(r, 50));
  }
}

const name = () => `document/${clock.id()}`;

/** Another person changes it, whatever it is then. */
async function change(stream: string, data: object): Promise<void> {
  const body = JSON.stringify({ stream, type: 'patch', policy: 'any', actor: 'Bob', data });
  const r = await fetch(`${url}/v1/commands`, { method: 'POST', headers: { 'Content-Type': 'application/json', Prefer: 'wait=20' }, body });
  assert.equal(r.status, 200, await r.text());
}

async function landed(stream: string): Promise<any[]> {
  const all: any[] = [];
  for (;;) {
    const page: any = await (await fetch(`${url}/v1/streams/${stream}/events?after=${all.length}&limit=100`)).json();
    if (!page.length) return all;
    all.push(...page);
  }
}

/** Sends so many in one go, and waits until all of them are part of the confirmed state. */
const burst = (p: Page, stream: string, from: number, n: number) =>
  p.evaluate(async ([name, from, n]) => {
    const w = window as any;
    w.stream ??= w.open(name, { actor: 'Ann' });
    const began = performance.now();
    for (let i = from; i < from + n; i++) w.stream.send(i ? 'patch' : 'create', { n: i });
    const sent = performance.now();
    await w.shown(w.stream, () => !w.stream.pending.length && !w.stream.conflict);
    return { loop: sent - began, all: performance.now() - began };
  }, [stream, from, n] as const);

await alone(async (p, context) => {
  const stream = name();
  const c = await context.newCDPSession(p);
  const warm = size.burst / 10;
  await burst(p, stream, 0, warm);
  const before = await heap(c);
  await p.evaluate(() => void ((window as any).long.length = 0));
  const wall: number[] = [];
  const cpu: number[] = [];
  const loop: number[] = [];
  const all: number[] = [];
  for (let i = 0; i < size.bursts; i++) {
    const task = await tasks(browser, p, async () => {
      const took = await burst(p, stream, warm + i * size.burst, size.burst);
      loop.push(took.loop);
      all.push(took.all / 1e3);
    });
    wall.push(task.wall);
    cpu.push(task.cpu);
  }
  const long = await p.evaluate(() => (window as any).long as number[]);
  const after = await heap(c);
  assert.deepEqual((await landed(stream)).map((e) => e.data.n), Array.from({ length: warm + size.bursts * size.burst }, (_, i) => i));
  const n = size.burst.toLocaleString('en');
  const each = wall.map((w) => w.toFixed(0)).join(', ');
  const middle = (of: number[]) => at(of, 0.5).toFixed(1);
  figure(`${n} actions in one go: the longest task`, '< 50 ms', `${middle(wall)} ms, ${middle(cpu)} ms of processor (median of ${size.bursts})`);
  figure('… tasks observed as long', '0', `${long.length}; the longest of each burst: ${each} ms`);
  figure('… the loop that sends them', '', `${middle(loop)} ms`);
  figure('… until all are confirmed', 'in order', `in order, ${middle(all)} s`);
  figure('… heap, collected, before and after all', 'the same', `${(before / 1e6).toFixed(2)} and ${(after / 1e6).toFixed(2)} MB`);
});

await alone(async (p) => {
  const stream = name();
  await burst(p, stream, 0, 1);
  await p.evaluate((n) => {
    const w = window as any;
    w.hold();
    for (let i = 1; i <= n; i++) w.stream.send('patch', { n: i });
  }, size.pending);
  for (let i = 1; i <= size.changes; i++) {
    await change(stream, { by: i });
    await p.waitForFunction((i) => (window as any).stream.confirmed.by == i, i);
    assert.deepEqual(await p.evaluate(() => (window as any).stream.state), { n: size.pending, by: i });
  }
  const frames = await p.evaluate((n) => (window as any).frames.slice(-n) as number[], size.changes);
  figure(`A confirmed change under ${size.pending.toLocaleString('en')} pending: shown in`, '< 4 ms', `p50 ${ms(at(frames, 0.5))}, p95 ${ms(at(frames, 0.95))}`);
});

await alone(async (p) => {
  const stream = name();
  await burst(p, stream, 0, 50);
  const [told, seen, bare] = await p.evaluate(async ([name, n]) => {
    const { stream: s, shown } = window as any;
    const told: number[] = [];
    const seen: number[] = [];
    const bare: number[] = [];
    for (let i = 0; i < n; i++) {
      const began = performance.now();
      const { outcome } = s.send('patch', { n: -i });
      await outcome;
      told.push(performance.now() - began);
      await shown(s, () => !s.pending.length);
      seen.push(performance.now() - began);
      // What the server and the browser take by themselves, at the same time of the same day.
      const body = JSON.stringify({ stream: `${name}-bare`, type: i ? 'patch' : 'create', policy: 'any', data: { n: i } });
      const asked = performance.now();
      const r = await fetch('/v1/commands', { method: 'POST', headers: { 'Content-Type': 'application/json', Prefer: 'wait=20' }, body });
      if (!r.ok) throw new Error(await r.text());
      await r.json();
      bare.push(performance.now() - asked);
    }
    return [told, seen, bare];
  }, [stream, size.actions] as const);
  figure('Own action to own confirmed state', 'p50 < 5 ms', `p50 ${ms(at(told!, 0.5))}, p95 ${ms(at(told!, 0.95))}`);
  figure('… a POST that waits for its outcome, without the client', '', `p50 ${ms(at(bare!, 0.5))}, p95 ${ms(at(bare!, 0.95))}`);
  figure('… and shown, with the next frame', '', `p50 ${ms(at(seen!, 0.5))}, p95 ${ms(at(seen!, 0.95))}`);
});

await alone(async (first, context) => {
  const names = Array.from({ length: size.streams }, name);
  const tabs = [first];
  while (tabs.length < size.tabs) tabs.push(await tab(context));
  for (const p of tabs)
    await p.evaluate((names) => {
      const w = window as any;
      const client = w.connect('', { actor: 'Ann', share: w.share() });
      w.streams = names.map((n) => client.stream(n, { initial: {} }));
      w.streams.forEach((s: any) => s.subscribe(() => {}));
    }, names);
  // Each of them comes to every tab.
  for (const p of tabs) await p.waitForFunction(() => (window as any).streams.every((s: any) => s.known));
  await tabs.at(-1)!.evaluate(() => Promise.all((window as any).streams.map((s: any) => s.send('create', { n: 1 }).outcome)));
  for (const p of tabs) await p.waitForFunction(() => (window as any).streams.every((s: any) => s.confirmed.n == 1));
  const n = await connections(1);
  assert.equal(n, 1, 'connections');
  figure(`${size.streams} streams in ${size.tabs} tabs: connections`, '1', `${n}`);
});

// A browser has six connections to a host over HTTP/1.1. Three users in two tabs each would use up all of them.
await alone(async (first, context) => {
  const stream = name();
  const tabs = [first, await tab(context)];
  for (const p of tabs)
    await p.evaluate((name) => {
      const w = window as any;
      w.clerks = ['Ann', 'Bob', 'Cleo'].map((actor) => w.open(`${name}-${actor}`, { actor, share: w.share({ name: actor }) }));
    }, stream);
  for (const p of tabs) await p.waitForFunction(() => (window as any).clerks.every((s: any) => s.known));
  assert.equal(await connections(3), 3, 'connections');
  for (const [i, p] of tabs.entries()) {
    const all = await p.evaluate(
      (i) => Promise.all((window as any).clerks.map((s: any) => s.send(i ? 'patch' : 'create', { [`tab${i}`]: true }).outcome)), i);
    assert.deepEqual(all.map((o: any) => o.status), ['landed', 'landed', 'landed']);
    for (const q of tabs) await q.waitForFunction((i) => (window as any).clerks.every((s: any) => s.confirmed[`tab${i}`]), i);
  }
});

await browser.close();
const width = (i: number) => Math.max(...rows.map((r) => r[i]!.length));
if (figures) for (const r of rows) console.log(r.map((cell, i) => cell.padEnd(width(i))).join('  ').trimEnd());
else console.log('all landed in order, over as many connections as there are users');
