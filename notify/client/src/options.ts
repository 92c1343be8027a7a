import type { Handle, Merge } from './act.ts';
import type { Conflict } from './conflict.ts';
import type { Stream } from './stream.ts';
import type { Limits, Policy } from './types.ts';

/** What a stream's states are, and what its commands will probably do to them. */
export interface StreamOptions<S = any> {
  /** The state of a stream on which nothing has happened; null if left out. */
  initial?: S;
  /** It is known to be new: sending starts at once, without asking the server. */
  fresh?: boolean;
  /** For each command type, the state after it, as well as can be told here. Pure; what throws changes nothing. */
  predict?: Record<string, (state: any, data: any) => any>;
  /** A conflict has come up; it is told once. */
  onConflict?: (conflict: Conflict, stream: Stream) => void;
}

/** How one action is sent. */
export interface SendOptions {
  /** Makes one of this and the one before, if that is of the same type and has not been sent yet. */
  merge?: Merge;
  policy?: Policy;
}

/** What the user has in front of them when a form is opened: what is sent by it is based on that. */
export interface Draft {
  readonly version: number;
  send(type: string, data?: unknown, options?: Omit<SendOptions, 'merge'>): Handle;
}

/** What a stream needs of its client. */
export interface Host {
  session: string;
  actor?: string;
  limits: Limits;
  /** Nothing is sent any more. */
  closed: boolean;
  /** Older actions than this many ms are asked about after a reload. */
  oldest: number;
  id(): string;
  now(): number;
  /** Something is to be sent, kept, asked or shown. */
  stir(stream: Stream): void;
}
