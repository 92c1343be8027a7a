import type { Ask, Change, CommandView, Limits, Listener, Snapshot } from '../../src/types.ts';
import type { Env, Kind, Outcome, Round } from './rules.ts';
import { Rules } from './rules.ts';
import type { Time } from './time.ts';
import { trace } from './time.ts';

/** A stream's state: who did what, in order. */
export type Tags = string[];

/** A type of streams that keep the tags of what was done to them. */
export const journal: Kind = {
  initial: null,
  evolve: (state: Tags | null, e) => [...(state ?? []), ...e.data.tags],
  decide(state: Tags | null, command, data) {
    if (command == 'look') return [];
    if (command == 'odd' && (state?.length ?? 0) % 2) return { reason: 'refused', refusal: 'odd', detail: 'not while it is odd' };
    if (command == 'add' || command == 'odd') return [{ type: 'added', data }];
    return { reason: 'unknown_command', detail: command };
  },
};

/** What a request to `POST /v1/commands` comes to. */
export interface Posted {
  status: number;
  body: any;
}

/** A server in miniature: takes commands, judges them after a while, and tells those who watch. */
export class Server {
  rules = new Rules(journal);
  log: Outcome[] = [];
  epoch = 1;
  limits: Limits = { max_array: 5, max_body: 4096, max_depth: 32, max_watched: 8, parked_per_stream: 256, parked_per_session: 1000 };
  conns = new Set<Conn>();
  /** Seen in POSTs, to be judged. */
  queue = 0;

  constructor(readonly time: Time, readonly random: () => number) {
    this.rules.clock = time.now;
    const sweep = () => {
      if ([...this.rules.streams.values()].some((i) => i.parked.size)) {
        this.tick();
        this.told(this.rules.expire());
      }
      time.after(500, sweep);
    };
    sweep();
  }

  private tick(): void {
    this.rules.clock = this.time.now;
  }

  /** Takes an array of commands; each is judged after up to so many ms. */
  post(text: string, slow: number): Posted {
    const items: any[] = JSON.parse(text);
    const { max_array, max_body } = this.limits;
    if (items.length > max_array || text.length > max_body) return { status: 413, body: { status: 413, code: 'too_large' } };
    const refused = new Set<string>();
    const body = items.map((c) => {
      const no = (status: number, code: string) => {
        refused.add(c.id);
        return { id: c.id, status, code };
      };
      if (refused.has(c.ticket)) return no(409, 'predecessor_refused');
      if (c.data?.forbid) return no(403, 'policy_forbidden');
      if (!c.ticket) return no(428, 'ticket_required');
      return { id: c.id, status: 'accepted' };
    });
    const taken = items.filter((c) => !refused.has(c.id)) as Env[];
    this.queue++;
    this.time.after(this.random() * slow, () => {
      this.queue--;
      this.tick();
      this.told(this.rules.play(...taken));
    });
    return { status: taken.length ? 202 : (body[0]!.status as number), body };
  }

  private told(rounds: Round[]): void {
    for (const r of rounds) {
      this.log.push(...r.outcomes);
      for (const o of r.outcomes) trace(this.time, `server: ${o.env.id} on ${o.env.ticket} ${o.status} ${o.reason ?? '@' + o.version}`);
      for (const w of r.park) trace(this.time, `server: ${w.env.id} on ${w.env.ticket} parked`);
      for (const c of this.conns) {
        for (const w of [...r.park, ...r.extend]) if (c.ask.sessions.includes(w.env.session)) c.parked.add(w.env.id);
        for (const a of r.answers) if (c.ask.sessions.includes(a.env.session)) c.again.push(a);
        if (r.outcomes.length || r.park.length || r.extend.length || r.answers.length) c.stir();
      }
    }
  }

  position(n = this.log.length): string {
    return `e${this.epoch}-${n}`;
  }

  private changes(o: Outcome, n: number): Change[] {
    const { id, type, actor } = o.env;
    return o.events.map((e, i) => ({ version: o.first + i, position: this.position(n), type: e.type, data: e.data,
      command: { id, type, actor: actor ?? '' } }));
  }

  /** The stream after the log's first n outcomes; its events since a position. */
  snapshot(stream: string, upto = this.log.length, since?: number): Snapshot {
    let s: Snapshot = { stream, version: 0, ticket: 'genesis', state: null, position: this.position(0), events: [] };
    const events: Change[] = [];
    this.log.slice(0, upto).forEach((o, i) => {
      if (o.env.stream != stream || o.status != 'landed') return;
      const { id, type, actor } = o.env;
      if (since != null && i >= since) events.push(...this.changes(o, i + 1));
      s = { stream, version: o.version, ticket: id, state: o.state ?? null, position: this.position(i + 1),
        command: { id, type, actor: actor ?? '' } };
    });
    return { ...s, events: events.slice(-100) };
  }

  view(id: string): CommandView {
    const f = this.rules.facts.get(id);
    if (!f) return { id, status: 'unknown' };
    if (!f.outcome) return { id, status: 'parked' };
    const o = f.outcome;
    const position = this.position(this.log.indexOf(o) + 1);
    if (o.status == 'landed') return { id, status: 'landed', version: o.version, position };
    const { version, ticket, state } = this.snapshot(o.env.stream);
    const told = o.cascaded ? {} : { state, missed: this.missed(o) };
    return { id, status: 'rejected', position, reason: o.reason, refusal: o.refusal, detail: o.detail, root: o.root,
      root_reason: o.rootReason, version, ticket, ...told };
  }

  private missed(o: Outcome): Change[] {
    let from = o.env.ticket;
    for (let f = this.rules.facts.get(from!); f && f.standing != 'landed' && f.env.ticket != from; f = this.rules.facts.get(from!)) from = f.env.ticket;
    const known = this.rules.facts.get(from!);
    if (from != 'genesis' && known?.env.stream != o.env.stream) return [];
    const version = known?.version ?? 0;
    return this.log.flatMap((l, i) => (l.env.stream == o.env.stream ? this.changes(l, i + 1) : [])).filter((c) => c.version > version).slice(-100);
  }

  /** The log becomes another history, of the same content. */
  reset(): void {
    this.epoch++;
    for (const c of [...this.conns]) c.end();
  }

  connect(ask: Ask, on: Listener): Conn {
    const c = new Conn(this, ask, on);
    this.conns.add(c);
    return c;
  }
}

/** One connection of a reader: what is owed is told in batches, states merged. */
export class Conn {
  parked = new Set<string>();
  again: { id: string; what: string; env: Env }[] = [];
  private at = 0;
  private stirred = false;
  private sent = new Map<string, number>();
  over = false;

  constructor(private server: Server, readonly ask: Ask, private on: Listener) {
    const { sessions, streams, after } = ask;
    on.open();
    const [epoch, n] = (after ?? '').split('-');
    let fresh = !after;
    if (after && (epoch != 'e' + server.epoch || +n! > server.log.length)) {
      on.event('reset', { reason: 'epoch' });
      fresh = true;
    }
    const end = server.log.length;
    for (const inst of server.rules.streams.values())
      for (const w of inst.parked.values()) if (sessions.includes(w.env.session)) on.event('parked', { id: w.env.id, stream: inst.name });
    this.at = fresh ? end : +n!;
    this.outcomes(this.at, end);
    for (const text of streams) {
      const [name, since] = text.split('@') as [string, string];
      const s = server.snapshot(name);
      if (fresh || since == 'new' || s.version > +since) on.event('state', since == 'new' || fresh ? s : this.since(name, +since, end));
      this.sent.set(name, end);
    }
    this.at = end;
    on.mark(server.position(end));
  }

  private since(name: string, version: number, end: number): Snapshot {
    const s = this.server.snapshot(name, end, 0);
    return { ...s, events: s.events!.filter((e) => e.version > version) };
  }

  private outcomes(from: number, to: number): void {
    for (const o of this.server.log.slice(from, to)) {
      if (!this.ask.sessions.includes(o.env.session)) continue;
      this.tell(o.env.id);
    }
  }

  private tell(id: string): void {
    const v = this.server.view(id);
    const { env } = this.server.rules.facts.get(id)!;
    this.on.event(v.status!, { ...v, stream: env.stream });
  }

  /** There is something to tell, after a while. */
  stir(): void {
    if (this.stirred || this.over) return;
    this.stirred = true;
    const { server } = this;
    server.time.after(server.random() * 300, () => {
      this.stirred = false;
      if (this.over) return;
      const end = server.log.length;
      for (const id of this.parked) if (!server.rules.facts.get(id)?.outcome) this.tell(id);
      this.parked.clear();
      this.outcomes(this.at, end);
      for (const a of this.again.splice(0)) {
        if (a.what == 'id_conflict') this.on.event('refused', { id: a.id, stream: a.env.stream, code: 'id_conflict' });
        else this.tell(a.id);
      }
      for (const [name, sent] of this.sent) {
        const s = server.snapshot(name, end, sent);
        if (+s.position.split('-')[1]! > sent) this.on.event('state', s);
        this.sent.set(name, end);
      }
      this.at = end;
      if (server.random() < 0.7) this.on.mark(server.position(end));
    });
  }

  end(): void {
    if (this.over) return;
    this.close();
    this.on.end();
  }

  close(): void {
    this.over = true;
    this.server.conns.delete(this);
  }
}
