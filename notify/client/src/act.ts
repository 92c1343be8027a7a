import type { Outcome, Policy, Rejection, Saved, Status } from './types.ts';
import { DoormanError } from './types.ts';

const rank: Record<Status, number> = { queued: 0, sent: 1, parked: 2, landed: 3, rejected: 3, refused: 3 };

/** Calls what is not ours: what it throws is reported, and stops nothing. */
export function call(fn: ((...args: any[]) => void) | undefined, ...args: any[]): void {
  try {
    fn?.(...args);
  } catch (e) {
    setTimeout(() => {
      throw e;
    });
  }
}

/** A set of listeners. */
export class Bell {
  #fns = new Set<() => void>();
  readonly on = (fn: () => void): (() => void) => {
    const own = () => fn();
    this.#fns.add(own);
    return () => this.#fns.delete(own);
  };
  ring(): void {
    for (const fn of [...this.#fns]) call(fn);
  }
}

/**
 * One action of the user, from `send` until it has ended. It lives on when the command behind it is sent again
 * under another id.
 */
export class Handle {
  status: Status = 'queued';
  /** True once the server has promised an outcome; false when it ended before that. Never fails. */
  get accepted(): Promise<boolean> {
    return (this.#accepted ??= new Promise((r) => {
      this.#accept = r;
      this.#promise();
    }));
  }
  /** How it ended. Never fails. */
  get outcome(): Promise<Outcome> {
    return (this.#outcome ??= new Promise((r) => {
      this.#end = r;
      this.#promise();
    }));
  }
  /** The same, once it has ended. */
  result?: Outcome;
  /** Calls back whenever the status has changed; returns what ends that. */
  get subscribe(): (fn: () => void) => () => void {
    return (this.#bell ??= new Bell()).on;
  }
  /** @internal */ _act: Act;
  // Most actions are watched by nobody; these come to be when somebody asks for them.
  #bell?: Bell;
  #accepted?: Promise<boolean>;
  #accept?: (yes: boolean) => void;
  #outcome?: Promise<Outcome>;
  #end?: (o: Outcome) => void;
  #sure = false;

  constructor(act: Act) {
    this._act = act;
  }

  /** Keeps what is promised, as far as it is known. */
  #promise(): void {
    const { result } = this;
    if (this.#sure || result) this.#accept?.(this.#sure);
    if (result) this.#end?.(result);
  }

  /** The id under which it is known now. */
  get id(): string {
    return this._act.id;
  }

  get type(): string {
    return this._act.type;
  }

  /** A copy of what was sent. */
  get data(): any {
    return parse(this._act.text);
  }

  /** Why it was turned away, while that waits for the user's decision. */
  get rejection(): Rejection | undefined {
    return this._act.rej;
  }

  /** @internal */
  _to(status: Status, outcome?: Outcome): void {
    if (rank[status] <= rank[this.status]) return;
    this.status = status;
    if (outcome) {
      this.#sure ||= status == 'landed' || this._act.ok;
      this.result = outcome;
      this.#promise();
    }
    this.#bell?.ring();
  }

  /** @internal */
  _accept(): void {
    this.#sure = true;
    this.#promise();
    this._to('sent');
  }
}

/** An action in a stream's chain, and the command that stands for it now. */
export interface Act {
  id: string;
  /** The id of the action it follows; not known before the first state. */
  ticket?: string;
  type: string;
  /** Its data as JSON, the bytes that are sent. */
  text: string;
  policy: Policy;
  session: string;
  /** When it was sent by the user, in ms since 1970. */
  at: number;
  /** Its ticket was given by the form it came from, and differs from where the chain was then. */
  pin?: boolean;
  /** It goes only when all before it have been accepted (1), or have landed (2). */
  calm?: number;
  /** How often it was sent again silently, since its predecessor was not there. */
  again?: number;
  /** How often this id has been handed to the network. */
  tries: number;
  /** An attempt with this id has an unknown fate. */
  murk?: boolean;
  /**
   * It was refused, but an earlier attempt may have arrived. So its id is used up by a command that is sure to be
   * rejected: after that, whatever may still be on its way cannot land.
   */
  sour?: Rejection;
  /** A POST with it is under way. */
  busy?: boolean;
  /** It is to be alone in its POST: in company the whole was refused. */
  solo?: boolean;
  /** The server has promised an outcome. */
  ok: boolean;
  /** Not to be tried before, in ms since 1970; Infinity: it is known to have been rejected with another. */
  next: number;
  /** It landed, and left this version. */
  version?: number;
  /** It was turned away as a root, and nobody has decided what to do. */
  rej?: Rejection;
  final?: 'rejected' | 'refused';
  /** The root with which it was rolled back. */
  held?: Act;
  /** What is known of its predecessor since before a reload: whether that landed, or its id was given up. */
  left?: boolean;
  /** It is kept from before a reload and older than allowed. */
  old?: boolean;
  handles: Handle[];
  /** Of its text, in bytes of UTF-8. */
  size: number;
}

/** Makes one command's data of two that follow each other. */
export type Merge = (earlier: any, later: any) => any;

const encoder = new TextEncoder();

/** How many bytes a text takes. */
export const bytes = (text: string): number => (/[^\0-\x7f]/.test(text) ? encoder.encode(text).length : text.length);

export const parse = (text: string): any => (text ? JSON.parse(text) : undefined);

const depth = (v: any): number =>
  v && typeof v == 'object' ? 1 + Object.values(v).reduce((d: number, x) => Math.max(d, depth(x)), 0) : 0;

export const malformed = (message: string): DoormanError => new DoormanError('malformed', message);

/** Copies data as JSON. What the server would certainly refuse does not get that far. */
export function copy(data: unknown, most: number): string {
  let text;
  let deep;
  try {
    text = JSON.stringify(data) ?? '';
    deep = text.length > 2 * most ? depth(parse(text)) : 0; // Each level takes two characters.
  } catch (e) {
    throw malformed(`${e}`); // A BigInt, a circle, or too deep to be walked.
  }
  // JSON.stringify escapes lone surrogates alone; two backslashes before the u are a backslash.
  if (/(^|[^\\])(\\\\)*\\ud[89a-f]/.test(text)) throw malformed('a text holds half a character');
  if (deep > most) throw malformed(`the data is nested deeper than ${most}`);
  return text;
}

/** Whether arrival order decides for it, so that one POST must wait for the other. */
export const loose = (a: Act): boolean => a.policy == 'session' || a.policy == 'any';

/** The JSON of a command. */
export function envelope(stream: string, a: Act, actor?: string): string {
  const { id, type, ticket, policy, session, sour } = a;
  const head = JSON.stringify({ id, stream, type, ticket: sour ? id : ticket, policy: sour ? 'ticket' : policy, session, actor });
  return a.text && !sour ? `${head.slice(0, -1)},"data":${a.text}}` : head;
}

/** An act as it is kept. */
export function save(a: Act, left?: boolean): Saved {
  const { id, ticket, type, text, policy, session, at, pin, calm, tries, murk, sour, ok, rej, final } = a;
  return { id, ticket, type, text, policy, session, at, pin, calm, tries, murk: murk || a.busy, sour, ok, rej, final, held: a.held?.id, left };
}
