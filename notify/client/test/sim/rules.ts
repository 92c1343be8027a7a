// The server's ticket rules (DESIGN section 2), written a second time and as simply as can be. They are held to the
// Go core's own scenarios in scenarios.test.ts.

export interface Env {
  id: string;
  stream: string;
  ticket?: string;
  policy: string;
  session: string;
  actor?: string;
  type: string;
  data?: any;
}

export interface Event {
  type: string;
  data: any;
}

export interface Outcome {
  env: Env;
  status: 'landed' | 'rejected';
  version: number;
  first: number; // version of its first event
  events: Event[];
  state?: any;
  reason?: string;
  refusal?: string;
  detail?: string;
  root?: string;
  rootReason?: string;
  cascaded?: boolean;
}

export interface Fact {
  standing: 'parked' | 'landed' | 'rejected';
  env: Env;
  version: number;
  root?: string;
  rootReason?: string;
  outcome?: Outcome;
}

export interface Waiting {
  env: Env;
  seq: number;
  deadline: number; // ms
  released?: boolean;
  fresh?: boolean;
  settled?: boolean;
}

/** What a type's code says: events, or why not. */
export type Verdict = Event[] | { reason: string; refusal?: string; detail: string };

export interface Kind {
  initial: any;
  decide(state: any, command: string, data: any): Verdict;
  evolve(state: any, e: Event): any;
}

interface Instance {
  name: string;
  version: number;
  head?: { env: Env; at: number };
  state: any;
  parked: Map<string, Waiting>;
  work: { w: Waiting; named: Fact }[];
  moved: boolean;
}

export interface Round {
  outcomes: Outcome[];
  park: Waiting[];
  extend: Waiting[];
  answers: { id: string; what: 'repeat' | 'id_conflict'; env: Env }[];
}

const payload = ({ stream, type, ticket, policy, data }: Env) => JSON.stringify([stream, type, ticket, policy, data ?? null]);
const WINDOW = 10_000;

export class Rules {
  limits = { stream: 256, session: 1000, all: 50_000, round: 4096 };
  parkFor = 30_000;
  clock = 0;
  facts = new Map<string, Fact>();
  streams = new Map<string, Instance>();
  private seq = 0;
  private round!: Round;

  constructor(private kind: Kind) {}

  instance(name: string): Instance {
    let inst = this.streams.get(name);
    if (!inst) {
      inst = { name, version: 0, state: this.kind.initial, parked: new Map(), work: [], moved: false };
      this.streams.set(name, inst);
    }
    return inst;
  }

  ticket(name: string): string {
    return this.instance(name).head?.env.id ?? 'genesis';
  }

  /** Judges commands in arrival order and returns what each round came to: a long chain takes several. */
  play(...envs: Env[]): Round[] {
    return this.rounds(() => envs.forEach((env) => this.take(env)));
  }

  /** Expires what is due. */
  expire(): Round[] {
    return this.rounds(() => {
      for (const inst of this.streams.values())
        for (const w of [...inst.parked.values()].sort((a, b) => (a.env.id < b.env.id ? -1 : 1)))
          if (!w.settled && !w.released && w.deadline <= this.clock && inst.parked.has(w.env.id) && !this.full()) {
            this.unpark(inst, w);
            this.reject(inst, w.env, { reason: 'predecessor_missing', root: w.env.id, rootReason: 'predecessor_missing',
              detail: `the command it follows (${w.env.ticket}) did not arrive in time` });
            this.drain(inst);
          }
    });
  }

  /** An operator takes one off. */
  operator(stream: string, id: string, why: string): Round[] {
    return this.rounds(() => {
      const inst = this.instance(stream);
      const w = inst.parked.get(id)!;
      this.unpark(inst, w);
      this.reject(inst, w.env, { reason: 'rejected_by_operator', root: id, rootReason: 'rejected_by_operator', detail: why });
      this.drain(inst);
    });
  }

  private rounds(fn: () => void): Round[] {
    const all: Round[] = [];
    for (let first = true; ; first = false) {
      this.round = { outcomes: [], park: [], extend: [], answers: [] };
      if (first) fn();
      else for (const inst of this.streams.values()) if (inst.work.length) this.drain(inst);
      this.finish();
      all.push(this.round);
      const left = [...this.streams.values()].some((i) => i.work.length);
      if (!left) return all;
    }
  }

  private full(): boolean {
    const { outcomes, park, answers } = this.round;
    return outcomes.length + park.length + answers.length >= this.limits.round;
  }

  private finish(): void {
    const r = this.round;
    r.park = r.park.filter((w) => !w.settled);
    r.extend = [...new Set(r.extend)].filter((w) => !w.settled && !w.fresh);
    for (const w of r.park) w.fresh = false;
  }

  private take(env: Env): void {
    const inst = this.instance(env.stream);
    const known = this.facts.get(env.id);
    if (known) {
      this.round.answers.push({ id: env.id, what: payload(known.env) == payload(env) ? 'repeat' : 'id_conflict', env });
      return;
    }
    const v = this.judge(inst, env);
    if (v == 'admit') this.admit(inst, env);
    else if (v == 'park') this.park(inst, env);
    else if (v.reason == 'ticket_cycle') {
      const members = this.loop(inst, env);
      for (const w of members) w.released = true;
      this.reject(inst, env, v);
      for (const w of members) {
        this.unpark(inst, w);
        this.reject(inst, w.env, v, true);
      }
    } else this.reject(inst, env, v);
    this.drain(inst);
  }

  private judge(inst: Instance, env: Env): 'admit' | 'park' | Why {
    const named = this.named(inst, env.ticket);
    const no = (reason: string, detail: string): Why => ({ reason, detail, root: env.id, rootReason: reason });
    const valid = env.ticket == 'genesis' ? inst.version == 0 : named?.standing == 'landed' && named.version == inst.version;
    const h = inst.head;
    if (env.policy == 'any') return 'admit';
    if (env.policy == 'strict')
      return valid ? 'admit' : no('ticket_not_current', `its ticket is not valid now; the stream is at version ${inst.version}`);
    if (env.policy == 'session' && named?.standing != 'rejected' && h && env.session && h.env.session == env.session &&
      h.env.policy != 'any' && this.clock - h.at <= WINDOW)
      return 'admit';
    if (env.ticket == env.id) return no('self_ticket', 'its ticket is its own id');
    if (valid) return 'admit';
    if (env.ticket == 'genesis' || named?.standing == 'landed')
      return no('stale_ticket', `events were appended after the action its ticket names; the stream is at version ${inst.version}`);
    if (named?.standing == 'rejected')
      return { reason: 'predecessor_rejected', root: named.root!, rootReason: named.rootReason!,
        detail: `the command it follows was rejected: ${named.rootReason}` };
    if (this.loop(inst, env).length) return no('ticket_cycle', 'it waits on a command that waits on it');
    const missing = 'its predecessor has not arrived, and ';
    if (inst.parked.size >= this.limits.stream) return no('parking_full', `${missing}${this.limits.stream} commands wait on this stream already`);
    const all = [...this.streams.values()].flatMap((i) => [...i.parked.values()]);
    if (env.session && all.filter((w) => w.env.session == env.session).length >= this.limits.session)
      return no('parking_full', `${missing}${this.limits.session} commands of this session wait already`);
    if (all.length >= this.limits.all) return no('parking_full', `${missing}the server holds no more than ${this.limits.all} waiting commands`);
    return 'park';
  }

  private named(inst: Instance, ticket?: string): Fact | undefined {
    const f = this.facts.get(ticket!);
    return f && f.env.stream == inst.name ? f : undefined;
  }

  private loop(inst: Instance, env: Env): Waiting[] {
    const members: Waiting[] = [];
    for (let w = inst.parked.get(env.ticket!); w; w = inst.parked.get(w.env.ticket!)) {
      members.push(w);
      if (w.env.ticket == env.id) return members;
    }
    return [];
  }

  private park(inst: Instance, env: Env): void {
    const before = inst.parked.get(env.ticket!);
    const w: Waiting = { env, seq: this.seq++, fresh: true, deadline: Math.max(this.clock + this.parkFor, before?.deadline ?? 0) };
    inst.parked.set(env.id, w);
    this.facts.set(env.id, { standing: 'parked', env, version: 0 });
    this.round.park.push(w);
    const frontier = [env.id];
    for (let id = frontier.shift(); id; id = frontier.shift())
      for (const next of inst.parked.values())
        if (next.env.ticket == id && next.deadline < w.deadline) {
          next.deadline = w.deadline;
          this.round.extend.push(next);
          frontier.push(next.env.id);
        }
  }

  private unpark(inst: Instance, w: Waiting): void {
    inst.parked.delete(w.env.id);
    w.settled = true;
  }

  private drain(inst: Instance): void {
    for (;;) {
      while (inst.work.length) {
        if (this.full()) return;
        this.settle(inst, inst.work.shift()!);
      }
      const next = inst.moved && [...inst.parked.values()]
        .filter((w) => w.env.policy == 'session' && !w.released).sort((a, b) => a.seq - b.seq)
        .find((w) => this.judge(inst, w.env) == 'admit');
      if (!next) {
        inst.moved = false;
        return;
      }
      this.enqueue(inst, next, this.named(inst, next.env.ticket) ?? { standing: 'landed', env: next.env, version: -1 });
    }
  }

  private enqueue(inst: Instance, w: Waiting, named: Fact): void {
    if (w.released) return;
    w.released = true;
    inst.work.push({ w, named });
    inst.work.sort((a, b) => a.w.seq - b.w.seq);
  }

  private settle(inst: Instance, { w, named }: { w: Waiting; named: Fact }): void {
    if (named.standing == 'rejected') {
      this.unpark(inst, w);
      this.reject(inst, w.env, { reason: 'predecessor_rejected', root: named.root!, rootReason: named.rootReason!,
        detail: `the command it follows was rejected: ${named.rootReason}` }, true);
      return;
    }
    const v = this.judge(inst, w.env);
    if (v == 'park') w.released = false;
    else {
      this.unpark(inst, w);
      if (v == 'admit') this.admit(inst, w.env);
      else this.reject(inst, w.env, v);
    }
  }

  private admit(inst: Instance, env: Env): void {
    const verdict = this.kind.decide(inst.state, env.type, env.data);
    if (!Array.isArray(verdict)) return this.reject(inst, env, { ...verdict, root: env.id, rootReason: verdict.reason });
    const first = inst.version + 1;
    for (const e of verdict) inst.state = this.kind.evolve(inst.state, e);
    inst.version += verdict.length;
    inst.head = { env, at: this.clock };
    inst.moved = true;
    this.record(inst, { env, status: 'landed', version: inst.version, first, events: verdict, state: inst.state });
  }

  private reject(inst: Instance, env: Env, why: Why, cascaded = false): void {
    this.record(inst, { env, status: 'rejected', version: inst.version, first: 0, events: [], cascaded, ...why });
  }

  private record(inst: Instance, outcome: Outcome): void {
    const { env, status, version, root, rootReason } = outcome;
    const fact: Fact = { standing: status, env, version, root, rootReason, outcome };
    this.facts.set(env.id, fact);
    this.round.outcomes.push(outcome);
    for (const w of inst.parked.values()) if (w.env.ticket == env.id) this.enqueue(inst, w, fact);
  }
}

interface Why {
  reason: string;
  refusal?: string;
  detail: string;
  root: string;
  rootReason: string;
}
