/** How a command's ticket is judged: see "policies" in the README. */
export type Policy = 'ticket' | 'strict' | 'session' | 'any';

/**
 * Where an action stands. It only ever moves to the right: queued, sent, parked, and then one of landed, rejected
 * and refused.
 */
export type Status = 'queued' | 'sent' | 'parked' | 'landed' | 'rejected' | 'refused';

/** One event that somebody's action brought, with who that was. */
export interface Change {
  version: number;
  position?: string;
  type: string;
  data: any;
  command: { id: string; type: string; actor: string; override?: boolean };
  at?: string;
}

/** Why an action was turned away. */
export interface Rejection {
  /** The machine-readable code, as `stale_ticket`. */
  reason: string;
  /** The aggregate's own code, when the reason is `refused`. */
  refusal?: string;
  /** For people. */
  detail?: string;
  /** The id of the command where the cascade began. */
  root?: string;
  root_reason?: string;
  /** As of the moment it was told: the ticket to send next, with the state behind it. */
  ticket?: string;
  version?: number;
  state?: any;
  missed?: Change[];
}

/** How an action ended. A rejection is a value: the promise of it never fails. */
export type Outcome =
  | { status: 'landed'; id: string; version: number; position?: string }
  | ({ status: 'rejected' | 'refused'; id: string } & Rejection);

/** A stream as the server tells it. */
export interface Snapshot {
  stream: string;
  version: number;
  ticket: string;
  state: any;
  position: string;
  command?: { id: string; type: string; actor: string };
  events?: Change[];
}

/** What `GET /v1/commands` and pushes tell of a command. */
export interface CommandView extends Partial<Rejection> {
  id: string;
  status?: string;
  position?: string;
}

/** The bounds that the server keeps, from `GET /v1/limits`. */
export interface Limits {
  max_array: number;
  max_body: number;
  max_depth: number;
  max_watched: number;
  parked_per_stream: number;
  parked_per_session: number;
}

/** An action as it is kept over a reload. */
export interface Saved {
  id: string;
  ticket?: string;
  type: string;
  text: string;
  policy: Policy;
  session: string;
  at: number;
  pin?: boolean;
  calm?: number;
  tries: number;
  murk?: boolean;
  sour?: Rejection;
  ok?: boolean;
  rej?: Rejection;
  final?: 'rejected' | 'refused';
  held?: string;
  /** It follows an own action that is in the chain no more: whether that landed; otherwise its id was given up. */
  left?: boolean;
}

/** What is told of a POST: its status, 0 when nothing was heard, and how long to stay away. */
export interface Answer {
  status: number;
  body?: any;
  /** In milliseconds. */
  later?: number;
}

/** What is asked of `/v1/notifications`. */
export interface Ask {
  streams: string[];
  sessions: string[];
  after?: string;
  deliver: 'state';
}

/** What a connection says of itself. */
export interface Listener {
  /** The first sign of life. */
  open(): void;
  event(name: string, data: any): void;
  mark(id: string): void;
  /** It is over. `quiet`: it opened, and then nothing came through. */
  end(why?: { later?: number; quiet?: boolean; problem?: any }): void;
}

/** The network as the client needs it. Every callback comes once; `listen` returns what ends the connection. */
export interface Transport {
  post(body: string, done: (a: Answer) => void): void;
  statuses(ids: string[], done: (list?: CommandView[]) => void): void;
  limits(done: (l?: Limits) => void): void;
  listen(ask: Ask, poll: boolean, on: Listener): () => void;
}

/** Time, chance and the turn of events, so that tests can decide them. */
export interface Clock {
  now(): number;
  random(): number;
  /** A new command id. */
  id(): string;
  after(ms: number, fn: () => void): () => void;
  /** As soon as what runs now is over. */
  soon(fn: () => void): void;
  /** When the screen is drawn next. */
  frame(fn: () => void): void;
}

/** Where chains are kept over a reload: package `persist` has one for IndexedDB. */
export interface Persistence {
  /** Takes over the sessions that are free, and what they left behind; the first is the one to go on with. */
  open(url: string, done: (sessions: string[], chains: [string, Saved[]][]) => void): void;
  /** Keeps chains instead of what was kept of these streams; done when that is durable, or has failed. */
  save(chains: [string, Saved[]][], done: (error?: unknown) => void): void;
  /** Lets the sessions go. */
  close(): void;
}

/** What one tab wants to be told. */
export interface Want {
  /** The version that it has of each stream; undefined when it needs the stream anew. */
  streams: Record<string, number | undefined>;
  sessions: string[];
}

/** Who listens to a feed. */
export interface Watcher {
  want(): Want;
  event(name: string, data: any): void;
  /** Whether the feed works at the moment. */
  live(yes: boolean, problem?: any): void;
}

/** A feed under way. */
export interface Feeding {
  /** What is wanted may have changed; or somebody needs everything anew. */
  update(anew?: boolean): void;
  /** The network is back: do not wait any longer. */
  wake(): void;
  close(): void;
}

/** Makes a feed for a watcher; from which mark on, if one is known. */
export type Feeds = (watcher: Watcher, mark?: string, marked?: (id: string) => void) => Feeding;

/** Lets several tabs have one connection: package `share` has one. */
export type Sharing = (url: string, feeds: Feeds, watcher: Watcher) => Feeding;

/** What went wrong before anything left, or why a client cannot go on. */
export class DoormanError extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
    this.name = 'DoormanError';
  }
}
