import type { Act, Handle } from './act.ts';
import { copy, loose } from './act.ts';
import type { Change, Rejection, Snapshot } from './types.ts';

/** What a conflict shows. */
interface Shown {
  state: any;
  ticket: string;
  version: number;
  missed: Change[];
}

/** What is to become of the actions behind the one in conflict. */
export interface Rest {
  rest?: 'carry' | 'drop';
}

/**
 * One action of the user's that was turned away, and waits for a decision. It is the same object while it is open:
 * when yet another change arrives, what it shows is renewed, and the stream's subscribers are called.
 */
export class Conflict {
  /** The server's state now, without the action. */
  state: any;
  /** The action that a retry will follow. */
  ticket = '';
  version = 0;
  /** What happened since the state that the action was based on, with who did it; the newest hundred. */
  missed: Change[] = [];
  /** Why it was turned away. */
  readonly rejection: Rejection;
  /** It was decided, and does nothing any more. */
  decided = false;
  /** @internal */ _next: Shown;
  /** @internal */ _choice?: { kind: 'retry' | 'edit' | 'drop'; data?: unknown; carry: boolean; ticket: string; version: number };

  /** @internal */
  constructor(
    /** @internal */ readonly _root: Act,
    /** @internal */ readonly _chain: Chain,
    now: Snapshot,
  ) {
    const { ticket, version = 0, state, missed = [] } = (this.rejection = _root.rej!);
    const told = ticket && (version > now.version || !now.ticket);
    this._next = {
      ...(told ? { ticket, version, state } : { ticket: now.ticket, version: now.version, state: now.state }),
      missed: missed.slice(),
    };
    this._show();
  }

  /** The action that was turned away. */
  get mine(): Handle {
    return this._root.handles[0]!;
  }

  /** The newest change by somebody else, if that was the reason. */
  get theirs(): Change | undefined {
    return this.missed.at(-1);
  }

  /** The actions that followed it and were rolled back with it; the decision is one for all. */
  get rest(): Handle[] {
    return this._chain._chain.filter((a) => a.held == this._root && a != this._root).flatMap((a) => a.handles);
  }

  get reason(): string {
    return this.rejection.reason;
  }

  /** Sends it again, based on what is shown here; the rest follows unless it is to be dropped. */
  retry({ rest = 'carry' }: Rest = {}): void {
    this.#decide('retry', rest);
  }

  /** Sends it with other data. Throws what `send` throws. */
  edit(data: unknown, { rest = 'carry' }: Rest = {}): void {
    const { _chain, _root } = this;
    _chain._check({ ..._root, text: copy(data, _chain._host.limits.max_depth - 2) });
    this.#decide('edit', rest, data);
  }

  /** Gives it up; the rest too, unless it is to be carried along. */
  drop({ rest = 'drop' }: Rest = {}): void {
    this.#decide('drop', rest);
  }

  #decide(kind: 'retry' | 'edit' | 'drop', rest: string, data?: unknown): void {
    if (this.decided) return;
    this.decided = true;
    this._choice = { kind, data, carry: rest == 'carry', ticket: this.ticket, version: this.version };
    this._chain._settle();
  }

  /** A later state came. @internal */
  _update(s: Snapshot): void {
    const n = this._next;
    if (s.version < n.version) return;
    const fresh = (s.events ?? []).filter((e) => e.version > n.version);
    this._next = { state: s.state, ticket: s.ticket, version: s.version, missed: [...n.missed, ...fresh].slice(-100) };
  }

  /** Shows what is known. @internal */
  _show(): void {
    Object.assign(this, this._next);
  }
}

/** What a conflict needs of its stream. */
export interface Chain {
  _chain: Act[];
  _check(a: Act): void;
  _host: { limits: { max_depth: number }; id(): string };
  _settle(): void;
}

/** Rolls back an action that was turned away, with all that certainly goes with it. */
export function hold(chain: Act[], root: Act, from = root): void {
  const gone = new Set([from.id]);
  from.held = root;
  for (const a of chain.slice(chain.indexOf(from) + 1)) {
    // What may have landed without regard to its ticket is left to its own outcome.
    if (a.version == null && !a.held && gone.has(a.ticket!) && !(a.tries && loose(a) && a.next < Infinity)) {
      a.held = root;
      gone.add(a.id);
    }
  }
}

/** Whether something that followed the root may still land by itself. */
export function doubtful(chain: Act[], root: Act): boolean {
  const gone = new Set(chain.filter((a) => a.held == root).map((a) => a.id));
  return chain.some((a) => a.version == null && !a.held && a.tries > 0 && loose(a) && gone.has(a.ticket!));
}

/** Gives an action another ticket, and another id if its own has been handed to the network. */
export function renew(a: Act, ticket: string, id: () => string): void {
  if (a.tries) {
    a.id = id();
    a.tries = a.next = 0;
    a.murk = a.busy = a.ok = a.solo = false;
    delete a.sour;
  }
  a.ticket = ticket;
  delete a.held;
  delete a.rej;
  delete a.final;
}

/** Carries out what was decided. Returns the chain as it is then, and what was dropped from it. */
export function decide(c: Conflict, chain: Act[], id: () => string): [Act[], Act[]] {
  const root = c._root;
  const { kind, data, carry, ticket, version } = c._choice!;
  const mine = chain.filter((a) => a.held == root);
  const others = chain.filter((a) => a.held != root);
  if (kind == 'retry' && root.old && root.tries) {
    // Of unknown fate, but for its age: the same command is the only one that cannot happen twice.
    const rest = carry ? [] : mine.filter((a) => a != root);
    for (const a of mine) {
      a.old = false;
      delete a.held;
    }
    delete root.rej;
    return [chain.filter((a) => !rest.includes(a)), rest];
  }
  const carried = mine.filter((a) => (a == root ? kind != 'drop' : carry));
  const dropped = mine.filter((a) => !carried.includes(a));
  // It stays behind all that came before it, and goes behind what has left since.
  const before = chain.indexOf(root);
  let k = others.length;
  while (k && !others[k - 1]!.tries && chain.indexOf(others[k - 1]!) > before) k--;
  const tail = others[k - 1];
  const live = tail && !(tail.version! <= version) && !tail.held;
  let prev = live ? tail.id : ticket;
  if (kind == 'edit') root.text = copy(data, 1e9);
  for (const a of carried) {
    renew(a, prev, id);
    delete a.pin;
    prev = a.id;
  }
  for (const a of others.slice(k)) {
    if (a.held) continue;
    if (!a.pin) a.ticket = prev;
    prev = a.id;
  }
  return [[...others.slice(0, k), ...carried, ...others.slice(k)], dropped];
}
