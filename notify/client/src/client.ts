import type { Act } from './act.ts';
import { call, envelope, malformed } from './act.ts';
import { jitter } from './feed.ts';
import type { StreamOptions } from './options.ts';
import { Stream } from './stream.ts';
import type { Answer, Clock, Feeding, Feeds, Limits, Persistence, Sharing, Transport, Want } from './types.ts';
import { DoormanError } from './types.ts';

/** What a client is made with. */
export interface ClientOptions {
  /** Keeps pending actions over a reload: `persist()` of `@ticketed/doorman/persist`. */
  persist?: Persistence;
  /** One connection for all tabs: `share()` of `@ticketed/doorman/share`. */
  share?: Sharing;
  /** What the streams of a type are like, by the name of the type. */
  types?: Record<string, StreamOptions>;
  /** Who the user is, where the server takes a client's word for it. */
  actor?: string;
  /** After a reload, actions older than this many ms are asked about instead of sent; an hour if left out. */
  oldest?: number;
  /** A conflict has come up on a stream. It is told once. */
  onConflict?: StreamOptions['onConflict'];
  /** Something is in the way that the client cannot mend: a stream that may not be watched, a full disk. */
  onError?: (problem: any) => void;
}

/** POSTs under way at once: what is sent meanwhile goes together with the next one. */
const PARALLEL = 4;

interface Sent {
  stream: Stream;
  act: Act;
  id: string;
}

/** One user's sight of a server: streams, one feed for all of them, and what is on its way. */
export class Client {
  session = '';
  limits: Limits = {
    max_array: 256, max_body: 256 << 10, max_depth: 32, max_watched: 256, parked_per_stream: 256, parked_per_session: 1000,
  };
  /** Whether pushes arrive at the moment. */
  connected = false;
  /** Whether it was closed: nothing can be sent any more. */
  closed = false;
  /** What else ends with it. @internal */
  closing?: () => void;
  readonly actor?: string;
  readonly oldest: number;
  readonly id: () => string;
  readonly now: () => number;
  #streams = new Map<string, Stream>();
  #sessions: string[] = [];
  #stirred = new Set<Stream>();
  #asked = new WeakMap<Stream, string[]>();
  #flying = 0;
  #tries = 0;
  /** Ends the pause after a failure. */
  #pause?: () => void;
  #pumping = false;
  #feed?: Feeding;

  constructor(
    readonly url: string,
    private options: ClientOptions,
    private transport: Transport,
    private clock: Clock,
    feeds: Feeds,
  ) {
    this.actor = options.actor;
    this.oldest = options.oldest ?? 3_600_000;
    this.id = () => clock.id();
    this.now = () => clock.now();
    const start = (sessions: string[], chains: Parameters<Parameters<Persistence['open']>[1]>[1] = []) => {
      if (this.closed) return;
      this.session = sessions[0]!;
      // What is restored may have been sent by a session of long ago.
      this.#sessions = [...new Set([...sessions, ...chains.flatMap(([, c]) => c.map((a) => a.session))])].filter(Boolean);
      for (const s of this.#streams.values()) for (const a of s._chain) a.session = this.session;
      for (const [name, saved] of chains) this.#stream(name)._restore(saved);
      this.#feed = options.share ? options.share(url, feeds, this) : feeds(this);
      this.#soon();
    };
    if (options.persist) options.persist.open(url, start);
    else start([clock.id() + clock.id()]);
    transport.limits((l) => Object.assign(this.limits, l));
  }

  /** A stream to look at and to send to; the same one for the same name. */
  stream<S = any>(name: string, options?: StreamOptions<S>): Stream<S> {
    if (!/^[a-z][a-z0-9_-]{0,127}\/[A-Za-z0-9][\w.:-]{0,127}$/.test(name)) throw malformed(`no stream has the name ${name}`);
    const { size } = this.#streams;
    if (!this.#streams.has(name) && size >= this.limits.max_watched) throw new DoormanError('too_large', `${size} streams are open already`);
    const s = this.#stream(name);
    s._know(options);
    this.#soon();
    return s;
  }

  #stream(name: string): Stream {
    let s = this.#streams.get(name);
    if (!s) {
      const { onConflict, types } = this.options;
      s = new Stream(name, this, { onConflict, ...types?.[name.split('/')[0]!] });
      this.#streams.set(name, s);
    }
    return s;
  }

  /** The network is back. */
  wake(): void {
    this.#tries = 0;
    this.#pause?.();
    this.#pause = undefined;
    this.#feed?.wake();
    this.#soon();
  }

  /** Ends everything; what has not been sent stays with `persist`. */
  close(): void {
    this.closed = true;
    this.closing?.();
    this.#feed?.close();
    this.options.persist?.close();
  }

  /** @internal */
  stir(s: Stream): void {
    if (!this.#stirred.size) this.clock.frame(() => this.#flush());
    this.#stirred.add(s);
    this.#soon();
  }

  #flush(): void {
    const all = [...this.#stirred];
    this.#stirred.clear();
    if (!this.closed) for (const s of all) s._flush();
    this.#soon();
  }

  #soon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.clock.soon(() => {
      this.#pumping = false;
      if (this.#feed && !this.closed) this.#pump();
    });
  }

  /** Keeps, asks and sends what there is, in this order. */
  #pump(): void {
    const { persist } = this.options;
    const streams = [...this.#streams.values()];
    for (const s of streams) {
      if (s._asking && this.#asked.get(s) != s._asking) this.#ask(s, s._asking);
      if (s._closed && !s._chain.length) this.#streams.delete(s.name);
    }
    const posts: Sent[][] = [];
    while (this.#flying < PARALLEL && !this.#pause) {
      const post = this.#collect(streams);
      if (!post.length) break;
      this.#flying++;
      for (const { stream, act } of post) stream._handed(act);
      posts.push(post);
    }
    const dirty = streams.filter((s) => s._dirty);
    for (const s of dirty) s._dirty = false;
    const go = () => posts.forEach((p) => this.#post(p));
    if (!persist || !dirty.length) go();
    else
      persist.save(dirty.map((s) => [s.name, s._save()]), (error) => {
        if (error) call(this.options.onError, error);
        go();
      });
    this.#feed!.update();
  }

  /** What goes into one POST. */
  #collect(streams: Stream[]): Sent[] {
    const { max_array, max_body, parked_per_session } = this.limits;
    const post: Sent[] = [];
    let size = 2;
    let room = parked_per_session;
    for (const s of streams) for (const a of s._chain) if (a.tries && a.version == null && !a.held) room--;
    for (const stream of streams) {
      for (const act of stream._ready(room > 0)) {
        size += act.size;
        // Alone it leaves even if it is too large for a server whose limits were not known yet: that says so.
        if ((post.length && (post.length >= max_array || size > max_body || act.solo)) || (!act.tries && room-- <= 0)) return post;
        post.push({ stream, act, id: act.id });
        if (act.solo) return post;
      }
    }
    return post;
  }

  #post(sent: Sent[]): void {
    // While it was being kept, some of it may have got another id.
    const post = sent.filter(({ act, id }) => act.id == id && act.busy);
    if (!post.length) {
      this.#flying--;
      return this.#soon();
    }
    const body = `[${post.map(({ stream, act }) => envelope(stream.name, act, this.actor))}]`;
    this.transport.post(body, (answer) => {
      this.#flying--;
      this.#answered(post, answer);
      this.#soon();
    });
  }

  #answered(post: Sent[], { status, body, later }: Answer): void {
    const each = Array.isArray(body) && body.length == post.length;
    let failed = false;
    for (const [i, { stream, act, id }] of post.entries()) {
      const item = each ? body[i] : body;
      const code = item?.code;
      const fate = each && item.status == 'accepted' ? 'accepted' : judge(each ? item.status : status, code);
      if (fate == 'refused' && !each && post.length > 1) {
        act.solo = true; // One of them is the culprit.
        stream._answer(id, 'later');
      } else {
        if (fate == 'unknown' || fate == 'later') failed ||= code != 'predecessor_refused';
        const wait = jitter(this.clock, act.tries);
        stream._answer(id, fate, { reason: code, detail: item?.detail }, wait);
        // A timer may be early by the part of a millisecond that it leaves out.
        if (fate == 'refused') this.clock.after(wait + 2, () => this.#soon());
      }
    }
    if (failed) {
      this.#pause?.();
      this.#pause = this.clock.after(jitter(this.clock, this.#tries++, later), () => {
        this.#pause = undefined;
        this.#soon();
      });
    } else this.#tries = 0;
  }

  #ask(s: Stream, ids: string[]): void {
    this.#asked.set(s, ids);
    let tries = 0;
    const ask = () => {
      if (s._asking == ids && !this.closed)
        this.transport.statuses(ids, (list) => (list ? s._statuses(ids, list) : this.clock.after(jitter(this.clock, tries++), ask)));
    };
    ask();
  }

  /** @internal */
  want(): Want {
    const streams: Want['streams'] = {};
    for (const s of this.#streams.values()) streams[s.name] = s._lost ? undefined : s._rec.version;
    return { streams, sessions: this.#sessions };
  }

  /** @internal */
  event(name: string, data: any): void {
    if (name == 'reset') for (const s of this.#streams.values()) s._reset();
    const s = this.#streams.get(data.stream);
    if (!s) return;
    if (name == 'state') s._state(data);
    else if (name == 'landed') s._landed(data.id, data.version, data.position);
    else if (name == 'parked') s._parked(data.id);
    else if (name == 'rejected') s._rejected(data.id, data);
    else if (data.id) s._rejected(data.id, { reason: data.code, detail: data.detail });
    else {
      if (data.code == 'unknown_type') s._nowhere();
      call(this.options.onError, data);
    }
  }

  /** @internal */
  live(yes: boolean, problem?: any): void {
    this.connected = yes;
    if (problem) call(this.options.onError, problem);
    if (yes) this.#soon();
  }
}

/** What an answer that is not yes means for a command: nothing is a refusal but what the server itself says. */
function judge(status: number, code?: string): 'refused' | 'later' | 'unknown' {
  if (!code || code == 'fate_unknown') return status == 401 || status == 429 ? 'later' : 'unknown';
  return status == 401 || status == 408 || status == 429 || status >= 500 || code == 'predecessor_refused' ? 'later' : 'refused';
}

