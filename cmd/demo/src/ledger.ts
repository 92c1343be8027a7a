/**
 * What the timeline shows: every action on one stream that this page knows of, whoever's it is, with the action it
 * names as its ticket. It listens to the network and to the clients; it decides nothing.
 */
import type { Change, Handle, Policy, Status } from '../../../notify/client/src/index.ts';

export interface Action {
  id: string;
  /** The id of the action it follows, genesis, or empty while that is not known. */
  ticket: string;
  who: string;
  type: string;
  data: any;
  policy: Policy;
  status: Status;
  /** The version it left, once landed. */
  version?: number;
  reason?: string;
  detail?: string;
  /** How often it was handed to the network. */
  sent: number;
  /** When it was first seen, counted. */
  order: number;
}

/** So many actions are kept; the oldest that have ended go first. */
const MOST = 120;

const rank: Record<Status, number> = { queued: 0, sent: 1, parked: 2, landed: 3, rejected: 3, refused: 3 };

export const ended = (a: Action): boolean => rank[a.status] == 3;

export class Ledger {
  #actions = new Map<string, Action>();
  /** The action that left a version. */
  #versions = new Map<number, string>();
  /** The page's own actions, for as long as they have not ended. */
  #mine = new Map<Handle, Action>();
  #count = 0;
  #past = false;
  /** Called at most once a frame. */
  changed: () => void = () => {};
  /** Called when an action has come to another status. */
  moved: (a: Action) => void = () => {};
  /** The action that moved last. */
  latest = '';
  #drawing = false;

  constructor(readonly stream: string) {}

  /** In the order in which they were first seen. */
  get actions(): Action[] {
    return [...this.#actions.values()].sort((a, b) => a.order - b.order);
  }

  get(id: string): Action | undefined {
    return this.#actions.get(id);
  }

  /** The id of the newest action that had landed at a version. */
  at(version: number): string {
    for (let v = version; v > 0; v--) {
      const id = this.#versions.get(v);
      if (id) return id;
    }
    return version ? '' : 'genesis';
  }

  #draw(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.changed();
    });
  }

  #note(id: string, about: Partial<Action>): Action {
    let a = this.#actions.get(id);
    if (!a) {
      a = { id, ticket: '', who: '', type: '', data: undefined, policy: 'ticket', status: 'queued', sent: 0, order: this.#count++ };
      this.#actions.set(id, a);
      this.#forget();
    }
    const { status, ...rest } = about;
    Object.assign(a, rest);
    if (status && rank[status] > rank[a.status]) {
      a.status = status;
      this.latest = id;
      this.moved(a);
    }
    this.#draw();
    return a;
  }

  #forget(): void {
    for (const a of this.#actions.values()) {
      if (this.#actions.size <= MOST) return;
      if (!ended(a)) continue;
      this.#actions.delete(a.id);
      if (this.#versions.get(a.version ?? 0) == a.id) this.#versions.delete(a.version!);
    }
  }

  /** A person's own actions have changed. */
  pending(who: string, version: number, handles: Handle[]): void {
    let before = this.at(version);
    for (const h of handles) {
      const known = this.#actions.get(h.id);
      const a = this.#note(h.id, { who, type: h.type, data: h.data });
      // What has been sent says itself what it follows.
      if (!known || known.status == 'queued') {
        a.ticket = before;
        // Time goes to the right, so it stands behind what it follows.
        if (this.#actions.get(before)!?.order > a.order) a.order = this.#count++;
      }
      this.#mine.set(h, a);
      before = h.id;
    }
    for (const [h, a] of this.#mine) {
      if (a.id != h.id && a.status == 'queued') this.#actions.delete(a.id); // It has another id now.
      if (!h.result) continue;
      this.#mine.delete(h);
      const { status, ...why } = h.result;
      if (status == 'landed') this.#land(a, why as { version: number });
      else if (a.status != 'queued') this.#note(a.id, { status, ...said(why) });
      else this.#actions.delete(a.id); // It was given up before it left.
    }
    this.#draw();
  }

  /** A POST leaves. */
  leaving(who: string, body: string): void {
    for (const c of JSON.parse(body)) {
      if (c.stream != this.stream) continue;
      this.#note(c.id, { who, type: c.type, data: c.data ?? null, ticket: c.ticket ?? '', policy: c.policy, status: 'sent' });
    }
  }

  /** It goes out, perhaps not for the first time. */
  sent(body: string): void {
    for (const c of JSON.parse(body)) {
      const a = this.#actions.get(c.id);
      if (a) a.sent++;
    }
    this.#draw();
  }

  /** It was answered: what was refused is told here and nowhere else. */
  answered(body: string, answer: any): void {
    const sent = JSON.parse(body);
    for (const [i, c] of sent.entries()) {
      const item = Array.isArray(answer) ? answer[i] : undefined;
      if (c.stream != this.stream || !item?.code || item.status < 400 || item.status >= 500) continue;
      if (['predecessor_refused', 'rate_limited', 'unauthorized'].includes(item.code)) continue;
      this.#note(c.id, { status: 'refused', ...said({ reason: item.code, detail: item.detail }) });
    }
  }

  /** Something was pushed. */
  pushed(name: string, data: any): void {
    if (data.stream != this.stream) return;
    if (name == 'parked') this.#note(data.id, { status: 'parked' });
    else if (name == 'rejected') this.#note(data.id, { status: 'rejected', ...said(data) });
    else if (name == 'landed') this.#land(this.#note(data.id, {}), data);
    else if (name == 'state') {
      for (const c of (data.events ?? []) as Change[]) this.#happened(c);
      // One that landed without events.
      if (data.command) this.#land(this.#note(data.command.id, { who: data.command.actor, type: data.command.type }), data);
      void this.#history(data.version);
    }
  }

  #happened(c: Change): void {
    const known = this.#actions.get(c.command.id);
    const a = known?.data !== undefined ? known : this.#note(c.command.id, { who: c.command.actor || 'Somebody', type: c.type, data: c.data });
    if (c.command.override) a.policy = 'any';
    if (!a.ticket) a.ticket = this.at(c.version - 1);
    this.#land(a, c);
  }

  #land(a: Action, { version }: { version: number }): void {
    const before = this.at(version - 1);
    if (!this.#versions.has(version)) this.#versions.set(version, a.id);
    this.#note(a.id, { version, status: 'landed', ticket: a.ticket || (before == a.id ? '' : before) });
  }

  /** What happened before anybody looked, once. */
  async #history(version: number): Promise<void> {
    if (this.#past) return;
    this.#past = true;
    const first = Math.max(0, version - MOST / 2);
    try {
      const r = await fetch(`/v1/streams/${this.stream}/events?after=${first}&limit=${MOST}`);
      if (!r.ok) return;
      const changes = (await r.json()) as Change[];
      const before = this.#count;
      for (const c of changes) this.#happened(c);
      // They came first, whenever they were told.
      for (const c of changes) {
        const a = this.#actions.get(c.command.id)!;
        if (a.order >= before) a.order -= 1e6;
      }
      this.#draw();
    } catch {
      this.#past = false; // With the next state.
    }
  }
}

function said({ reason, refusal, detail, root_reason }: any): Partial<Action> {
  return { reason: refusal ?? (reason == 'predecessor_rejected' && root_reason ? `${reason} (${root_reason})` : reason), detail };
}
