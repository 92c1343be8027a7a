// Tabs that share one connection (share.ts), in an origin whose pages close, crash and freeze.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../src/client.ts';
import { feeds } from '../../src/feed.ts';
import { share } from '../../src/share.ts';
import type { Tab } from '../sim/browser.ts';
import { Browser } from '../sim/browser.ts';
import type { Page } from '../sim/tabs.ts';
import { chance } from '../sim/time.ts';

const send = (c: Client, tag: string, name = 'journal/1') => c.stream(name).send('add', { tags: [tag] });

test('three tabs have one connection, and each is told of its own actions and of all streams that it watches', async () => {
  const b = new Browser();
  const tabs = [b.open(), b.open(), b.open()];
  for (const t of tabs) t.client.stream('journal/1');
  tabs[2]!.client.stream('journal/2');
  await b.pass(1000);
  assert.equal(b.connections, 1);
  const handles = tabs.map((t, i) => send(t.client, `t${i}`, i == 2 ? 'journal/2' : 'journal/1'));
  await b.pass(3000);
  assert.equal(handles[0]!.status, 'landed');
  assert.equal(handles[2]!.status, 'landed');
  assert.equal(tabs[1]!.client.stream('journal/1').conflict?.reason, 'stale_ticket', 'both changed it at once');
  assert.deepEqual(tabs[1]!.client.stream('journal/1').confirmed, ['t0']);
  assert.equal(b.connections, 1);
});

test('a tab that comes later gets what the others have already', async () => {
  const b = new Browser();
  const first = b.open();
  send(first.client, 'a');
  await b.pass(2000);
  const second = b.open();
  const s = second.client.stream('journal/1');
  await b.pass(1000);
  assert.deepEqual(s.confirmed, ['a']);
  assert.equal(b.connections, 1);
  const h = send(second.client, 'b');
  await b.pass(2000);
  assert.equal(h.status, 'landed');
  assert.deepEqual(first.client.stream('journal/1').confirmed, ['a', 'b']);
});

for (const [how, end] of [
  ['is closed', (t: Tab) => { t.client.close(); t.page.crash(); }],
  ['crashes', (t: Tab) => t.page.crash()],
  ['freezes', (t: Tab) => t.page.freeze()],
] as const)
  test(`when the tab with the connection ${how} another one has it within 20 s, and misses nothing`, async () => {
    const b = new Browser();
    const tabs = [b.open(), b.open(), b.open()];
    for (const t of tabs) t.client.stream('journal/1');
    await b.pass(1000);
    send(tabs[1]!.client, 'before');
    await b.pass(2000);
    end(tabs[0]!);
    for (const c of b.server.conns) if (how != 'freezes') c.close();
    const h = send(tabs[2]!.client, 'after');
    await b.pass(20_000);
    assert.equal(h.status, 'landed');
    for (const t of tabs.slice(1)) assert.deepEqual(t.client.stream('journal/1').confirmed, ['before', 'after']);
    if (how == 'freezes') {
      tabs[0]!.page.thaw();
      await b.pass(5000);
      assert.deepEqual(tabs[0]!.client.stream('journal/1').confirmed, ['before', 'after']);
      assert.equal(b.connections, 1);
      const late = send(tabs[0]!.client, 'late');
      await b.pass(5000);
      assert.equal(late.status, 'landed');
    }
  });

test('what a tab said that led for a moment does not stop the one that leads now', async () => {
  const b = new Browser();
  b.origin.slow = () => 40;
  const tabs = [b.open(), b.open(), b.open()];
  for (const t of tabs) t.client.stream('journal/1');
  await b.pass(1000);
  for (const t of tabs.slice(0, 2)) {
    t.client.close();
    t.page.crash();
    await b.pass(10); // The next one leads, and has not been heard yet.
  }
  const h = send(tabs[2]!.client, 'alone');
  await b.pass(20_000);
  assert.equal(h.status, 'landed');
});

test('a tab for which there is no room any more has its own connection', async () => {
  const b = new Browser();
  const tabs = [b.open(), b.open()];
  for (const [i, t] of tabs.entries()) for (let n = 0; n < 150; n++) t.client.stream(`journal/${i}-${n}`);
  await b.pass(1000);
  assert.equal(b.connections, 2);
  for (const [i, t] of tabs.entries()) assert.ok(t.client.stream(`journal/${i}-149`).known);
});

test('when the tab that has the connection needs all of its room, the others have their own', async () => {
  const b = new Browser();
  const tabs = [b.open(), b.open(), b.open()];
  const watch = (i: number, n: number) => { while (n--) tabs[i]!.client.stream(`journal/${i}-${n}`); };
  watch(0, 100);
  watch(1, 60);
  watch(2, 80);
  await b.pass(1000);
  assert.equal(b.connections, 1);
  watch(0, 130);
  await b.pass(1000);
  assert.equal(b.connections, 2, 'room for one of the others');
  watch(0, 256);
  await b.pass(1000);
  assert.equal(b.connections, 3);
  for (const [i, n] of [256, 60, 80].entries()) for (let k = 0; k < n; k++) assert.ok(tabs[i]!.client.stream(`journal/${i}-${k}`).known);
});

test('a tab that missed something takes everything anew', async () => {
  const b = new Browser();
  const [one, two] = [b.open(), b.open()];
  for (const t of [one, two]) t.client.stream('journal/1');
  await b.pass(1000);
  const port = [...two.page.ports.values()][0];
  const hear = port.onmessage;
  port.onmessage = () => {};
  const h = send(two.client, 'unheard');
  await b.pass(1000);
  assert.equal(h.status, 'sent');
  port.onmessage = hear;
  send(one.client, 'next');
  await b.pass(3000);
  assert.deepEqual([h.status, two.client.stream('journal/1').confirmed], ['landed', ['unheard', 'next']]);
});

test('whoever needs a stream anew is told it, whichever tab has the connection', async () => {
  const b = new Browser();
  send(b.open().client, 'a');
  await b.pass(2000);
  const page = b.origin.page();
  const told: string[] = [];
  const streams: Record<string, number | undefined> = { 'journal/1': undefined };
  const watcher = { want: () => ({ streams, sessions: ['mine'] }), live() {}, event: (name: string, data: any) => {
    told.push(name);
    if (name == 'state') streams[data.stream] = data.version;
  } };
  const feeding = share({ locks: page.locks, channel: page.channel, after: page.after })('', () => assert.fail(), watcher);
  await b.pass(1000);
  assert.deepEqual(told, ['state']);
  streams['journal/1'] = undefined;
  feeding.update(true);
  await b.pass(1000);
  assert.deepEqual(told, ['state', 'state']);
});

test('a tab that was taken for gone, and is not, is told so', async () => {
  const b = new Browser();
  const [one, two] = [b.open(), b.open()];
  for (const t of [one, two]) t.client.stream('journal/1');
  await b.pass(1000);
  two.page.freeze();
  await b.pass(200_000);
  send(one.client, 'meanwhile');
  await b.pass(1000);
  two.page.thaw();
  await b.pass(5000);
  assert.deepEqual(two.client.stream('journal/1').confirmed, ['meanwhile']);
  const h = send(two.client, 'back');
  await b.pass(5000);
  assert.equal(h.status, 'landed');
  assert.equal(b.connections, 1);
});

test('what is told while a tab waits to be told everything anew is told to it again', async () => {
  const b = new Browser();
  const [one, two] = [b.open(), b.open()];
  for (const t of [one, two]) t.client.stream('journal/1');
  await b.pass(1000);
  const port = [...two.page.ports.values()][0];
  const hear = port.onmessage;
  port.onmessage = () => {};
  send(one.client, 'unheard');
  await b.pass(1000);
  port.onmessage = hear;
  b.held = true;
  send(one.client, 'next');
  await b.pass(1000);
  // First that it landed, which tells that something was missed, and 5 ms later the state.
  let n = 0;
  b.slow = () => 5 * n++;
  b.release();
  await b.pass(1000);
  assert.deepEqual(two.client.stream('journal/1').confirmed, ['unheard', 'next']);
});

test('for a tab that comes later the connection is made once more, not twice', async () => {
  const b = new Browser();
  for (const n of [1, 2, 3]) {
    b.open().client.stream('journal/1');
    await b.pass(1000);
    assert.equal(b.made, n);
  }
});

test('tabs that open beside each other on a slow machine are all told what they watch', async () => {
  for (let seed = 0; seed < 200; seed++) {
    const b = new Browser();
    const luck = chance(seed);
    const [gap, way, work] = [1000 * luck() ** 2, 150 * luck() ** 2, 300 * luck() ** 2];
    b.origin.slow = b.slow = () => 1 + luck() * way;
    const until = b.time.now + 3000;
    // The page has other work: what comes meanwhile waits.
    const busy = (p: Page) => {
      p.freeze();
      b.time.after(luck() * work, () => p.thaw());
      if (b.time.now < until) b.time.after(luck() * (2 * work + 10), () => busy(p));
    };
    for (let i = 0; i < 4; i++) {
      const { page, client } = b.open();
      for (let n = 0; n < 5; n++) client.stream(`journal/${n}`);
      busy(page);
      await b.pass(luck() * gap);
    }
    await b.pass(5000);
    const known = b.tabs.map(({ client }) => [0, 1, 2, 3, 4].filter((n) => client.stream(`journal/${n}`).known).length);
    assert.deepEqual(known, [5, 5, 5, 5], `seed ${seed}`);
    assert.equal(b.connections, 1, `seed ${seed}`);
  }
});

test('a problem that cannot be told to other tabs stops nothing', async () => {
  const b = new Browser();
  const tabs = [b.open(), b.open()];
  for (const t of tabs) t.client.stream('journal/1');
  await b.pass(1000);
  const problem = { detail: 'no credential', retry() {} }; // As a Response that auth has thrown.
  const over = [...b.ends];
  for (const end of over) end({ problem });
  assert.equal(over.length, 1);
  await b.pass(5000);
  const h = send(tabs[1]!.client, 'after');
  await b.pass(2000);
  assert.equal(h.status, 'landed');
});

test('without Web Locks each tab has its own connection', async () => {
  const b = new Browser();
  for (let i = 0; i < 2; i++) {
    const t = b.transport();
    const clock = b.time.clock(chance(i), `own${i}`);
    const count = { ...t, listen: (...a: Parameters<typeof t.listen>) => (b.connections++, t.listen(...a)) };
    new Client('', { share: share({ locks: undefined as any }) }, count, clock, feeds(count, clock)).stream('journal/1');
  }
  await b.pass(1000);
  assert.equal(b.connections, 2);
});
