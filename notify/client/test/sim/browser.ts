import assert from 'node:assert/strict';
import { Client } from '../../src/client.ts';
import { feeds } from '../../src/feed.ts';
import type { StreamOptions } from '../../src/options.ts';
import { share } from '../../src/share.ts';
import type { Page } from './tabs.ts';
import { Origin } from './tabs.ts';
import { chance } from './time.ts';
import { Stage } from './wire.ts';

/** A tab with its client. */
export interface Tab {
  page: Page;
  client: Client;
}

/** A browser whose tabs share one connection. */
export class Browser extends Stage {
  origin = new Origin(this.time);
  connections = 0;
  made = 0;
  /** What ends the connections that are open, as the browser tells of it. */
  ends = new Set<(why?: any) => void>();
  /** How long what the server tells is on its way, in ms. */
  slow = () => 0;
  tabs: Tab[] = [];

  open(onConflict?: StreamOptions['onConflict']): Tab {
    const page = this.origin.page();
    const wire = this.transport();
    const transport = {
      ...wire,
      listen: (ask: any, poll: boolean, on: any) => {
        assert.ok(ask.streams.length <= 256, `asked for ${ask.streams.length} streams, which no server takes`);
        this.connections++;
        this.made++;
        let last = 0;
        let over = false;
        const way = (fn: () => void) => {
          last = Math.max(last, this.time.now + this.slow());
          this.time.after(last - this.time.now, () => page.run(() => over || fn()));
        };
        const end = (why?: any) => way(() => on.end(why));
        this.ends.add(end);
        const stop = wire.listen(ask, poll, { open: () => way(() => on.open()), mark: (m) => way(() => on.mark(m)),
          event: (n, d) => way(() => on.event(n, d)), end: (w) => end(w) });
        return () => {
          this.connections--;
          over = true;
          this.ends.delete(end);
          stop();
        };
      },
    };
    const real = this.time.clock(chance(this.tabs.length), `tab${this.tabs.length}`);
    const clock = { ...real, after: page.after, soon: (fn: () => void) => real.soon(() => page.run(fn)), frame: (fn: () => void) => void page.after(16, fn) };
    const client = new Client('', { onConflict, share: share({ locks: page.locks, channel: page.channel, after: page.after }) }, transport, clock, feeds(transport, clock));
    const tab = { page, client };
    this.tabs.push(tab);
    return tab;
  }

  /** Time passes, and promises are kept meanwhile. */
  async pass(ms: number): Promise<void> {
    for (let t = 0; t < ms; t += 10) {
      this.time.pass(10);
      for (const p of this.posts.splice(0)) {
        p.arrive();
        p.answer();
      }
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
    }
  }
}
