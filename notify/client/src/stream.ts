import type { Act } from './act.ts';
import { call, loose, save } from './act.ts';
import { again, ready, restore } from './chain.ts';
import { Conflict, decide, doubtful, hold } from './conflict.ts';
import type { Host, StreamOptions } from './options.ts';
import type { CommandView, Outcome, Rejection, Saved, Snapshot } from './types.ts';
import { View } from './view.ts';

/** So often an action is sent again silently. A log that lost what it had told would have it go on for ever. */
const SILENT = 9;
/** Own ids that have landed, or were given up; so many, the newest. */
const LEFT = 512;
/** Commands past the oldest one that the server has not accepted. */
const WINDOW = 128;

const seq = (position = '') => +position.slice(position.lastIndexOf('-') + 1);

/**
 * A stream as one user sees it: the server's state with their own pending actions applied. It does no I/O; its client
 * tells it what was answered and pushed, and takes from it what is to be sent.
 */
export class Stream<S = any> extends View<S> {
  /** The next state counts whatever its version, and is applied with what became of the pending. @internal */ _lost = true;
  /** A state that waits for that. @internal */ _gate?: Snapshot;
  /** The ids that are being asked about. @internal */ _asking?: string[];
  #left = new Map<string, boolean>();
  #conflict?: Conflict;
  #told?: Conflict;

  /** @internal */
  constructor(name: string, host: Host, options: StreamOptions<S>) {
    super(name, host, options);
    this._know();
  }

  /** Stops watching it, once nothing is pending. */
  close(): void {
    this._closed = true;
    this._host.stir(this);
  }

  /** The conflict that waits for a decision. New actions wait behind it. */
  get conflict(): Conflict | undefined {
    return this.#told;
  }

  /** Options came, or came anew. @internal */
  _know(options?: StreamOptions<S>): void {
    Object.assign(this._options, options);
    this._closed = false;
    if (this._options.fresh && !this._base && !this.known) this.#start('genesis');
    this._view = undefined;
  }

  /** The first ticket is known. */
  #start(ticket: string): void {
    this._base = this._first = ticket;
    const first = this._chain[0];
    if (first && !first.ticket) {
      first.ticket = ticket;
      this._dirty = true; // It is that also after a reload.
    }
  }

  /** What may be handed to the network now, oldest first. `more`: also what has not been before. @internal */
  _ready(more: boolean): Act[] {
    const { now, limits } = this._host;
    return ready(this._chain, now(), Math.min(WINDOW, limits.parked_per_stream), {
      more, lost: this._lost, conflict: !!this.#conflict,
    });
  }

  /** It leaves now. @internal */
  _handed(a: Act): void {
    a.tries++;
    a.busy = this._dirty = true;
    for (const h of a.handles) h._to('sent');
  }

  #find(id: string): Act | undefined {
    return this._chain.find((a) => a.id == id);
  }

  /** A POST's answer: what became of one of its commands. @internal */
  _answer(id: string, what: 'accepted' | 'refused' | 'later' | 'unknown', why?: Rejection, wait = 0): void {
    const a = this.#find(id);
    if (!a?.busy) return;
    a.busy = false;
    if (what == 'accepted') this.#accept(a);
    else if (what == 'unknown') a.murk = true;
    else if (what == 'refused' && !a.ok && a.version == null && !a.held) {
      if (a.sour && why!.reason == 'id_conflict') this.#accept(a); // It had arrived.
      else if (a.murk) {
        a.sour = why;
        a.next = this._host.now() + wait;
      } else this.#turnedAway(a, why!, 'refused');
    }
    this._settle(); // A decision may have waited for it.
  }

  #accept(a: Act): void {
    a.ok = true;
    for (const h of a.handles) h._accept();
  }

  /** The server knows it; nothing if that tells us nothing new. */
  #heard(id: string): Act | undefined {
    const a = this.#find(id);
    if (!a || a.version != null) return;
    const root = a.held;
    if (root?.rej!.reason == 'too_old' && a.tries) {
      // It had arrived after all: there is nothing to decide.
      for (const b of this._chain) if (b.held == root) delete b.held;
      delete root.rej;
      if (this.#conflict?._root == root) this.#conflict = undefined;
      this.#open();
    }
    if (a.held) return;
    this.#accept(a);
    return a;
  }

  /** @internal */
  _parked(id: string): void {
    const a = this.#heard(id);
    for (const h of a?.handles ?? []) h._to('parked');
    this._touch();
  }

  /** @internal */
  _landed(id: string, version: number, position?: string): void {
    const a = this.#heard(id);
    if (!a) return;
    a.version = version;
    this.#leave(id, true);
    this.#end(a, { status: 'landed', id, version, position });
    this._settle();
  }

  #end(a: Act, outcome: Outcome): void {
    for (const h of a.handles) h._to(outcome.status, outcome);
    this._touch();
  }

  /** @internal */
  _rejected(id: string, why: Rejection): void {
    const a = this.#heard(id);
    if (!a) return;
    const before = a.ticket == a.id ? undefined : this.#find(a.ticket!);
    const left = this.#left.get(a.ticket!);
    const { reason } = why;
    if (a.sour && reason == 'id_conflict') return; // It had arrived.
    if (a.sour && reason == 'self_ticket') this.#turnedAway(a, a.sour, 'refused');
    else if (before?.held && /^predecessor|_full$/.test(reason)) {
      // It goes the way of the one it followed.
      hold(this._chain, before.held, a);
    } else if (reason == 'predecessor_rejected' && before && before.version == null) {
      a.next = Infinity; // That of its predecessor is on its way.
    } else if (a.again! >= SILENT) this.#turnedAway(a, why, 'rejected');
    else if (!before && left != null && /^predecessor|_full$/.test(reason)) {
      // What it followed has landed meanwhile, goes under another id now, or was given up.
      const prev = this._chain[this._chain.indexOf(a) - 1];
      if (prev?.held && !left) hold(this._chain, prev.held, a);
      else {
        if (!left) a.ticket = prev?.id ?? this._base;
        this.#again(a, reason);
      }
    } else if ((reason == 'predecessor_missing' || reason == 'parking_full') && before) this.#again(a, reason);
    else this.#turnedAway(a, why, 'rejected');
    this._settle();
  }

  #again(a: Act, reason: string): void {
    a.again = (a.again ?? 0) + 1;
    this.#replace(() => again(this._chain, a, reason == 'parking_full' ? 2 : 1, this._host.id));
  }

  /** Notes which ids are gone by what it does. */
  #replace(fn: () => void): void {
    const old = this._chain.map((a) => a.id);
    fn();
    for (const id of old) if (!this.#find(id)) this.#leave(id, false);
  }

  #leave(id: string, landed: boolean): void {
    this.#left.set(id, landed);
    for (const old of this.#left.keys()) if (this.#left.size > LEFT) this.#left.delete(old);
  }

  #turnedAway(a: Act, why: Rejection, final: 'rejected' | 'refused'): void {
    a.rej = why;
    a.final = final;
    hold(this._chain, a);
    this.#open();
    this._touch();
  }

  /** Opens the next conflict, if none is open. */
  #open(): void {
    const root = this.#conflict ? undefined : this._chain.find((a) => a.rej);
    if (root) this.#conflict = new Conflict(root, this, this._rec);
  }

  /** Carries out a decision as soon as that is safe. @internal */
  _settle(): void {
    const c = this.#conflict;
    if (c?.decided && !doubtful(this._chain, c._root)) {
      const { final } = c._root;
      let dropped: Act[] = [];
      this.#replace(() => ([this._chain, dropped] = decide(c, this._chain, this._host.id)));
      const chain = this._chain;
      if (chain.includes(c._root)) this._fits(c._root);
      for (const a of dropped) {
        const mine = a == c._root;
        const why = mine ? c.rejection : { reason: 'predecessor_rejected', root: c._root.id, root_reason: c.reason };
        this.#end(a, { ...why, status: mine ? final! : 'rejected', id: a.id });
      }
      const { ticket, version } = c._choice!;
      if (!chain.length) this.#rebase(ticket, version);
      // The dialog showed what forms that were open before it did not.
      if (ticket != this._seen.ticket && !chain.some((a) => a.id == ticket)) {
        this._era++;
        this.#rebase(ticket, version);
      }
      this.#conflict = undefined;
      this._view = undefined;
      this.#open();
    }
    this._touch();
  }

  #rebase(ticket: string, version: number): void {
    this._base = ticket;
    this._based = version;
  }

  /** A state was pushed. @internal */
  _state(s: Snapshot): void {
    if (this._lost) {
      if (this._gate) {
        if (s.version >= this._gate.version) this._gate = s;
        return;
      }
      const open = this._chain.filter((a) => a.tries && a.version == null && !a.held).map((a) => a.id);
      if (open.length) {
        this._gate = s;
        this._asking = open;
        this._host.stir(this);
        return;
      }
    } else if (s.version < this._rec.version || (s.version == this._rec.version && seq(s.position) <= seq(this._rec.position)))
      return;
    this.#apply(s);
  }

  #apply(s: Snapshot): void {
    if (this._lost) {
      this._lost = false;
      // What landed in a history that is gone is part of nothing to come.
      for (const a of this._chain) if (a.version! > s.version) a.version = s.version;
      if (this.known) this._based = -1;
    }
    this._rec = s;
    if (!this._base) {
      this.#start(s.ticket);
      this._based = s.version;
    }
    if (s.command) this._landed(s.command.id, s.version, s.position);
    this.#conflict?._update(s);
    this._host.stir(this);
  }

  /** The server has no such streams: what is sent is refused, instead of waiting for a first state. @internal */
  _nowhere(): void {
    this._rec.ticket ||= 'genesis';
    if (!this._base) this.#start('genesis');
    this._touch();
  }

  /** The feed does not go on from where it was. @internal */
  _reset(): void {
    this._lost = true;
    this._gate = this._asking = undefined;
  }

  /** What became of those asked about. @internal */
  _statuses(asked: string[], list: CommandView[]): void {
    if (asked != this._asking) return;
    this._asking = undefined;
    for (const c of list) {
      const a = this.#find(c.id);
      if (c.status == 'landed') this._landed(c.id, c.version!, c.position);
      else if (c.status == 'rejected') this._rejected(c.id, c as Rejection);
      else if (c.status == 'parked') this._parked(c.id);
      else if (a && !a.held && a.version == null) {
        // It was not judged yet, or it never arrived, or its log is gone: the same again does no harm.
        a.murk ||= a.ok;
        a.ok = false;
        if (a.old) this.#turnedAway(a, { reason: 'too_old' }, 'rejected');
      }
    }
    const s = this._gate;
    this._gate = undefined;
    if (s) this.#apply(s);
    this._settle();
  }

  /** Shows what has come, and calls those who watch. @internal */
  _flush(): void {
    const s = this._rec;
    const rose = s.version > this._seen.version;
    this._seen = s;
    this._view = undefined;
    const gone = this._chain.filter((a) => this._reached(a));
    if (gone.length) this._chain = this._chain.filter((a) => !this._reached(a));
    // A ticket of our own that is newest now had no foreign event before it, unless nobody looked.
    if (rose && !gone.some((a) => a.id == s.ticket && !loose(a))) this._era++;
    if (!this._chain.length && s.version > this._based) this.#rebase(s.ticket, s.version);
    const c = this.#conflict;
    c?._show();
    if (c && !c.ticket) {
      // It can be decided once the server's state is known.
    } else if (c != this.#told) {
      this.#told = c?.decided ? undefined : c;
      if (this.#told) call(this._options.onConflict, c, this);
    } else if (c?.decided) this.#told = undefined;
    this.revision++;
    this._bell.ring();
  }

  /** What is to be kept over a reload. @internal */
  _save(): Saved[] {
    return this._chain.filter((a) => a.version == null).map((a) => save(a, this.#left.get(a.ticket!)));
  }

  /** Goes on with what was left behind by a reload. @internal */
  _restore(saved: Saved[]): void {
    const acts = restore(saved, this._host.now() - this._host.oldest);
    const mine = this._chain;
    this._chain = [...acts, ...mine];
    // What was sent before this was read follows it.
    if (mine[0] && acts.length) mine[0].ticket = acts.at(-1)!.id;
    for (const a of acts) {
      if (a.left != null) this.#leave(a.ticket!, a.left);
      if (a.old && !a.tries && !a.held) this.#turnedAway(a, { reason: 'too_old' }, 'rejected');
    }
    this.#open();
    this._touch();
  }
}
