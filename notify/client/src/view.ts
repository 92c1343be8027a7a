import type { Act } from './act.ts';
import { Bell, bytes, copy, envelope, Handle, malformed, parse } from './act.ts';
import type { Draft, Host, SendOptions, StreamOptions } from './options.ts';
import type { Stream } from './stream.ts';
import type { Snapshot } from './types.ts';
import { DoormanError } from './types.ts';

/** What a user sees of a stream, and what they do to it. */
export class View<S = any> {
  /** Grows whenever something that can be seen here has changed. */
  revision = 0;
  /** @internal */ _chain: Act[] = [];
  /** What was received last. @internal */ _rec: Snapshot;
  /** What was shown last. @internal */ _seen: Snapshot;
  /** The chain is not kept as it is. @internal */ _dirty = false;
  /** What the next action follows when none is pending. @internal */ _base?: string;
  /** The version that this was taken at. @internal */ _based = 0;
  /** The first base there was. @internal */ _first?: string;
  /** Counts how often something was shown that others did. @internal */ _era = 0;
  /** The state with what is pending. @internal */ _view?: { state: S };
  /** Nobody uses it any more. @internal */ _closed = false;
  /** @internal */ _bell = new Bell();

  /** @internal */
  constructor(
    readonly name: string,
    /** @internal */ readonly _host: Host,
    /** @internal */ public _options: StreamOptions<S>,
  ) {
    this._seen = this._rec = { stream: name, version: 0, ticket: '', state: null, position: '' };
  }

  /** The state with the pending actions applied, as it was last shown, and with what was sent since. */
  get state(): S {
    return (this._view ??= { state: this.#visible().reduce((s, a) => this.#predict(s, a), this.confirmed) }).state;
  }

  /** The state that the server has confirmed, as of the last time that subscribers were called. */
  get confirmed(): S {
    return this._seen.state ?? this._options.initial ?? null;
  }

  /** How many events the confirmed state is made of. */
  get version(): number {
    return this._seen.version;
  }

  /** Whether the server's state is known. */
  get known(): boolean {
    return this._seen.position != '';
  }

  /** The actions that are not part of the confirmed state yet, in order, with those in conflict. */
  get pending(): Handle[] {
    return this._chain.flatMap((a) => a.handles);
  }

  /** Calls back when something has changed, at most once a frame; returns what ends that. */
  subscribe = (fn: () => void): (() => void) => this._bell.on(fn);

  /**
   * Sends a command based on what the user sees. It returns at once; throws a DoormanError for what the server
   * would never take, and then nothing has been sent.
   */
  send(type: string, data?: unknown, options: SendOptions = {}): Handle {
    return this.#send(type, data, options);
  }

  /** Keeps what is shown now as the base of what a form sends later. */
  draft(): Draft {
    const { version } = this;
    const era = this._era;
    const base = this._base;
    return {
      version,
      send: (type, data, options = {}) =>
        this.#send(type, data, { ...options, merge: undefined }, era == this._era ? undefined : (base ?? this._first)),
    };
  }

  get #tail(): string | undefined {
    const last = this._chain.at(-1);
    return last ? last.id : this._base;
  }

  #send(type: string, data: unknown, { merge, policy = 'ticket' }: SendOptions, pin?: string): Handle {
    const { limits, session, id, now, closed } = this._host;
    if (closed || this._closed) throw new DoormanError('closed', `${this.name} was closed`);
    if (!type || !/^[a-z][a-z0-9_-]{0,127}$/.test(type)) throw malformed(`no command has the type ${type}`);
    const text = copy(data, limits.max_depth - 2);
    const last = this._chain.at(-1);
    const act: Act = {
      id: id(), ticket: pin ?? this.#tail, pin: pin != null, type, text, policy, session, at: now(),
      tries: 0, ok: false, next: 0, handles: [], size: 0,
    };
    if (merge && last && !last.tries && !last.held && !last.pin && last.type == type && last.policy == policy) {
      const one = { ...last, text: copy(merge(parse(last.text), parse(text)), limits.max_depth - 2) };
      if (this._fits(one)) {
        Object.assign(last, one);
        this._view = undefined;
        return this.#handle(last);
      }
    }
    this._check(act);
    const view = this._view;
    this._chain.push(act);
    if (view) this._view = { state: this.#predict(view.state, act) };
    return this.#handle(act);
  }

  /** @internal */
  _check(a: Act): void {
    if (!this._fits(a)) throw new DoormanError('too_large', `the command is larger than ${this._host.limits.max_body} bytes`);
  }

  /** @internal */
  _fits(a: Act): boolean {
    // Its ticket may become another one, and it may get a session yet.
    a.size = bytes(envelope(this.name, a, this._host.actor)) + (a.ticket == 'genesis' ? 30 : a.ticket ? 1 : 49) + (a.session ? 0 : 128);
    return a.size < this._host.limits.max_body;
  }

  #handle(a: Act): Handle {
    const h = new Handle(a);
    a.handles.push(h);
    this.revision++;
    this._touch();
    return h;
  }

  /** @internal */
  _touch(): void {
    this._dirty = true;
    this._host.stir(this as unknown as Stream);
  }

  #visible(): Act[] {
    return this._chain.filter((a) => !a.held && !this._reached(a));
  }

  /** @internal */
  _reached(a: Act): boolean {
    return a.version! <= this._seen.version && this.known;
  }

  #predict(state: S, a: Act): S {
    try {
      const predict = this._options.predict?.[a.type];
      return predict ? predict(state, parse(a.text)) : state;
    } catch {
      return state;
    }
  }
}
