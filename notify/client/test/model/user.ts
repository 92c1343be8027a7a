import type { Handle } from '../../src/act.ts';
import type { Conflict } from '../../src/conflict.ts';
import { Client } from '../../src/client.ts';
import { feeds } from '../../src/feed.ts';
import type { Draft } from '../../src/options.ts';
import type { Stream } from '../../src/stream.ts';
import type { Persistence, Saved } from '../../src/types.ts';
import { Network } from '../sim/network.ts';
import type { Server, Tags } from '../sim/server.ts';
import type { Time } from '../sim/time.ts';
import { trace } from '../sim/time.ts';
import type { Step } from './plan.ts';

/** What is known of one thing that a user did. */
export interface Deed {
  tag: string;
  user: number;
  stream: string;
  type: string;
  policy: string;
  /** Others' tags that the user had seen when they did it, or decided to do it nevertheless. */
  seen: Set<string>;
  handle?: Handle;
  /** Nothing was known of the stream: it is based on whatever came first. */
  blind: boolean;
}

/** A disk that takes its time, and keeps what it has when the page goes. */
class Disk {
  chains = new Map<string, Saved[]>();
  ids = new Set<string>();
  sessions: string[] = [];
  writing: [string, Saved[]][][] = [];

  write(chains: [string, Saved[]][]): void {
    for (const [name, chain] of chains) {
      if (chain.length) this.chains.set(name, chain);
      else this.chains.delete(name);
      for (const c of chain) this.ids.add(c.id);
    }
  }
}

/** A person with a page, which they may reload. */
export class User {
  client!: Client;
  network!: Network;
  deeds = new Map<string, Deed>();
  drafts = new Map<string, { draft: Draft; seen: Set<string>; blind: boolean }>();
  /** The ids of rejected roots that were told, since the last reload and ever. */
  told: string[] = [];
  ever = new Set<string>();
  /** Ids of roots that were still undecided at a reload are told again. */
  conflicts = new Map<string, Conflict>();
  reloads = 0;
  /** Of all that was ever sent. */
  tickets = new Map<string, string>();
  /** What was wrong while it happened. */
  faults: string[] = [];
  private disk = new Disk();
  private n = 0;
  private shown = new Map<string, Set<string>>();
  private written = 0;

  constructor(readonly index: number, readonly server: Server, readonly time: Time, readonly random: () => number,
    readonly names: string[], readonly fresh: boolean, readonly weather: Network['weather']) {
    this.open();
  }

  /** Opens the page. */
  open(): void {
    const { time, random, server } = this;
    const network = (this.network = new Network(server, time, random));
    network.weather = this.weather;
    const clock = time.clock(random, `u${this.index}.${++this.reloads}`);
    network.posted = (body) => {
      trace(time, `u${this.index} posts ${body}`);
      for (const c of JSON.parse(body)) if (c.ticket != c.id) this.tickets.set(c.id, c.ticket);
      for (const c of JSON.parse(body)) if (!this.disk.ids.has(c.id)) this.faults.push(`${c.id} left before it was kept`);
    };
    this.told = [];
    this.conflicts.clear();
    this.drafts.clear();
    this.client = new Client('', {
      persist: this.persistence(network), actor: `u${this.index}`, oldest: Infinity,
      onConflict: (c) => {
        const { id } = c.mine;
        if (this.told.includes(id)) this.faults.push(`the rejection of ${id} was told twice`);
        if (/missing|full/.test(c.reason)) this.faults.push(`${id} is told as ${c.reason}, which is nobody's business`);
        trace(time, `u${this.index} is told of ${id}: ${c.reason}, at ${c.ticket}`);
        this.told.push(id);
        this.ever.add(id);
      },
    }, network, clock, feeds(network, clock));
    for (const name of this.names) {
      const s = this.stream(name);
      s.subscribe(() => this.check(s));
    }
  }

  private persistence(network: Network): Persistence {
    const { disk, time, random } = this;
    return {
      open: (_url, done) => void time.after(random() * 30, () => {
        if (network.closed) return;
        if (!disk.sessions.length) disk.sessions = [`session${this.index}`];
        done(disk.sessions, [...disk.chains]);
        for (const name of this.names) this.adopt(this.stream(name));
      }),
      save: (chains, done) => {
        const copy: [string, Saved[]][] = JSON.parse(JSON.stringify(chains));
        disk.writing.push(copy);
        this.written = Math.max(this.written, time.now + random() * 30);
        time.after(this.written - time.now, () => {
          if (network.closed) return;
          disk.write(copy);
          disk.writing.shift();
          done();
        });
      },
      close() {},
    };
  }

  stream(name: string): Stream<Tags> {
    const predict = (s: Tags, d: any) => [...s, ...d.tags];
    return this.client.stream<Tags>(name, { initial: [], fresh: this.fresh, predict: { add: predict, odd: predict } });
  }

  /** What was pending before a reload belongs to the deeds that are known. */
  private adopt(s: Stream<Tags>): void {
    for (const h of s.pending) for (const tag of this.tags(h)) this.deeds.get(tag)!.handle = h;
  }

  private tags(h: Handle): string[] {
    return h.data?.tags ?? [];
  }

  /** What they were shown ever; states only grow. */
  private seen(name: string): Set<string> {
    if (!this.shown.has(name)) this.shown.set(name, new Set());
    return this.shown.get(name)!;
  }

  /** What is shown hangs together. */
  private check(s: Stream<Tags>): void {
    trace(this.time, `u${this.index} is shown ${s.name} ${s.version} ${s.known} ${s.state}`);
    const form = this.drafts.get(s.name);
    if (s.known && form?.blind) {
      for (const t of s.confirmed) form.seen.add(t);
      form.blind = false;
    }
    if (s.known)
      for (const d of this.deeds.values())
        if (d.blind && d.stream == s.name) {
          for (const t of s.confirmed) d.seen.add(t);
          d.blind = false;
        }
    for (const t of s.state) this.seen(s.name).add(t);
    const twice = s.state.filter((t, i) => s.state.indexOf(t) != i);
    if (twice.length) this.faults.push(`u${this.index} is shown ${twice} twice`);
  }

  do(step: Step, name: string): void {
    const s = this.stream(name);
    trace(this.time, `u${this.index} ${JSON.stringify(step)}`);
    switch (step.do) {
      case 'send':
        return this.send(s, step.type, step.policy, step.merge, new Set(this.seen(name)));
      case 'draft':
        return void this.drafts.set(name, { draft: s.draft(), seen: new Set(this.seen(name)), blind: !s.known && !this.fresh });
      case 'submit': {
        const d = this.drafts.get(name);
        this.drafts.delete(name);
        return d && this.send(s, 'add', 'ticket', false, d.seen, d.draft);
      }
      case 'reload':
        return this.reload();
      case 'cut':
        return this.server.conns.forEach((c) => c.ask.sessions.includes(this.client.session) && c.end());
      case 'offline':
        this.network.offline = true;
        return void this.time.after(step.ms, () => {
          this.network.offline = false;
          this.client.wake();
        });
      case 'decide':
        return this.decide(s, step.choice, step.rest);
    }
  }

  private send(s: Stream<Tags>, type: string, policy: any, merge: boolean, seen: Set<string>, draft?: Draft): void {
    const tag = `u${this.index}-${++this.n}`;
    const data: any = { tags: [tag] };
    if (type == 'forbid') {
      data.forbid = true;
      type = 'add';
    }
    const options = { policy, ...(merge && { merge: (a: any, b: any) => ({ ...a, ...b, tags: [...a.tags, ...b.tags] }) }) };
    const deed: Deed = { tag, user: this.index, stream: s.name, type, policy, seen, blind: !s.known && !this.fresh };
    this.deeds.set(tag, deed);
    deed.handle = draft ? draft.send(type, data, options) : s.send(type, data, options);
    // It has been seen by what follows it.
    data.tags.push('changed after it was sent');
  }

  /** The page goes, and comes back. */
  private reload(): void {
    this.client.close();
    this.network.closed = true;
    trace(this.time, `u${this.index} has kept ${JSON.stringify([...this.disk.chains])}, is writing ${JSON.stringify(this.disk.writing)}`);
    // What is being written then may be on the disk or not; before the page is open again that is decided.
    const { writing } = this.disk;
    for (const w of writing.slice(0, Math.floor(this.random() * (writing.length + 1)))) this.disk.write(w);
    this.disk.writing = [];
    // Where the first state came too late to be kept with the action, the next page's first state counts.
    for (const chain of this.disk.chains.values())
      if (chain[0] && !chain[0].ticket) for (const c of chain) for (const tag of JSON.parse(c.text).tags) this.deeds.get(tag)!.blind = true;
    const kept = new Set([...this.disk.chains.values()].flat().flatMap((a) => JSON.parse(a.text).tags as string[]));
    for (const d of this.deeds.values()) {
      // What was not on the disk yet was never sent, unless it has ended already.
      if (!d.handle?.result && !kept.has(d.tag)) d.handle = undefined;
    }
    this.open();
  }

  decide(s: Stream<Tags>, choice: 'retry' | 'edit' | 'drop', rest: 'carry' | 'drop'): void {
    const c = s.conflict;
    if (!c || c.decided) return;
    trace(this.time, `u${this.index} decides on ${c.mine.id}: ${choice} ${rest}, at ${c.ticket}`);
    const mine = [c.mine, ...c.rest];
    for (const h of s.pending)
      for (const tag of this.tags(h)) {
        const d = this.deeds.get(tag)!;
        if (mine.includes(h) || !h._act.tries) for (const t of c.state ?? []) d.seen.add(t);
      }
    for (const t of c.state ?? []) this.seen(s.name).add(t);
    const { forbid, ...data } = c.mine.data;
    if (choice == 'edit') c.edit({ ...data, edited: forbid ?? 1 }, { rest });
    else c[choice]({ rest });
  }
}
