// Actions that are kept over a reload (persist.ts), in an IndexedDB that is none and pages that come and go.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../src/client.ts';
import { feeds } from '../../src/feed.ts';
import { persist } from '../../src/persist.ts';
import type { Page } from '../sim/tabs.ts';
import { Origin } from '../sim/tabs.ts';
import { chance } from '../sim/time.ts';
import { Stage } from '../sim/wire.ts';

let databases = 0;

class Browser extends Stage {
  origin = new Origin(this.time);
  name = `doorman${databases++}`;
  tabs = 0;
  online = true;
  /** Bodies of POSTs that left while nobody answered. */
  left: any[][] = [];

  open(oldest?: number): { page: Page; client: Client } {
    const page = this.origin.page();
    const wire = this.transport();
    const post = (body: string, done: any) => {
      if (page.dead) return;
      if (this.online) wire.post(body, (a) => page.run(() => done(a)));
      else this.left.push(JSON.parse(body));
    };
    const clock = this.time.clock(chance(this.tabs), `tab${this.tabs++}`);
    const transport = { ...wire, post };
    const client = new Client('', { persist: persist({ name: this.name, locks: page.locks }), oldest }, transport, clock, feeds(transport, clock));
    return { page, client };
  }

  async pass(ms: number): Promise<void> {
    for (let t = 0; t < ms; t += 20) {
      this.time.pass(20);
      for (const p of this.posts.splice(0)) {
        p.arrive();
        p.answer();
      }
      await new Promise((r) => setImmediate(r));
    }
  }

  close(tab: { page: Page; client: Client }): void {
    tab.client.close();
    tab.page.crash();
  }
}

const send = (c: Client, tag: string) => c.stream('journal/1', { fresh: true }).send('add', { tags: [tag] });

test('what was not answered when the page went is sent by the next one under the same id, once', async () => {
  const b = new Browser();
  b.online = false;
  const first = b.open();
  const ids = [send(first.client, 'a').id, send(first.client, 'b').id];
  await b.pass(1000);
  assert.deepEqual(b.left.flat().map((c) => c.id), ids);
  b.close(first);
  b.server.post(JSON.stringify(b.left[0]), 0); // It had arrived, in fact.
  b.online = true;
  const second = b.open();
  await b.pass(3000);
  const s = second.client.stream('journal/1');
  assert.deepEqual([s.confirmed, s.pending], [['a', 'b'], []]);
  assert.deepEqual(b.server.log.map((o) => o.env.id), ids);
  b.close(second);
});

test('a page takes what nobody owns, and leaves alone what another page has', async () => {
  const b = new Browser();
  b.online = false;
  const [one, two] = [b.open(), b.open()];
  await b.pass(200);
  send(one.client, 'one');
  send(two.client, 'two');
  await b.pass(500);
  one.page.crash();
  const [three, four] = [b.open(), b.open()];
  await b.pass(500);
  const pending = [three, four].map((t) => t.client.stream('journal/1').pending.map((h) => h.data.tags[0]));
  assert.deepEqual(pending.flat(), ['one'], 'one of the two has it');
  for (const t of [two, three, four]) b.close(t);
});

test('what is older than allowed is asked about, not sent; undecided conflicts are there after a reload', async () => {
  const b = new Browser();
  b.online = false;
  const first = b.open(1000);
  await b.pass(100);
  for (let i = 0; i < 3; i++) send(first.client, `t${i}`);
  await b.pass(200);
  b.close(first);
  await b.pass(2000);
  b.online = true;
  let tab = b.open(1000);
  tab.client.stream('journal/1');
  await b.pass(500);
  for (let i = 0; i < 2; i++) {
    const c = tab.client.stream('journal/1').conflict!;
    assert.equal(c.reason, 'too_old');
    assert.deepEqual([c.mine.data.tags, c.rest.length], [['t0'], 2]);
    assert.deepEqual(b.server.log, []);
    if (!i) {
      b.close(tab);
      tab = b.open(1000);
      tab.client.stream('journal/1');
      await b.pass(500);
    }
  }
  tab.client.stream('journal/1').conflict!.retry();
  await b.pass(3000);
  assert.deepEqual(tab.client.stream('journal/1').confirmed, ['t0', 't1', 't2']);
  b.close(tab);
  const last = b.open();
  await b.pass(300);
  assert.deepEqual(last.client.stream('journal/1').pending, [], 'nothing is kept of what has ended');
  b.close(last);
});
