import { Client } from '../../src/client.ts';
import type { ClientOptions } from '../../src/client.ts';
import { feeds } from '../../src/feed.ts';
import type { Answer, Transport } from '../../src/types.ts';
import type { Kind } from './rules.ts';
import { Rules } from './rules.ts';
import { Server } from './server.ts';
import { chance, Time } from './time.ts';

/** A POST that has left and whose fate the test decides. */
export interface Post {
  body: any[];
  /** It arrives and is judged; the answer is kept back. */
  arrive(): void;
  /** Its answer arrives; as the server gave it unless another is named. */
  answer(a?: Answer): void;
}

/** A server and the ways to it, where nothing happens by chance. */
export class Stage {
  time = new Time();
  server: Server;
  posts: Post[] = [];
  /** Pushes are held back while this is true. */
  held = false;
  private queue: (() => void)[] = [];

  constructor(kind?: Kind) {
    this.server = new Server(this.time, chance(1));
    if (kind) {
      this.server.rules = new Rules(kind);
      this.server.rules.clock = this.time.now;
    }
  }

  /** Lets all POSTs that have left arrive, and their answers too, until nothing is left to do. */
  run(ms = 2000): void {
    for (let i = 0; i < 20; i++) {
      this.time.pass(ms / 20);
      for (const p of this.posts.splice(0)) {
        p.arrive();
        p.answer();
      }
    }
  }

  post(text: string, done: (a: Answer) => void): void {
    let given: Answer | undefined;
    const arrive = () => {
      given ??= this.server.post(text, 0);
      this.time.pass(0);
    };
    this.posts.push({ body: JSON.parse(text), arrive, answer: (a) => {
      done(a ?? given!);
      this.time.settle();
    } });
  }

  /** Lets the pushes through that were held back. */
  release(): void {
    this.held = false;
    for (const fn of this.queue.splice(0)) fn();
    this.time.pass(100);
  }

  transport(): Transport {
    const way = (fn: () => void) => (this.held ? void this.queue.push(fn) : fn());
    return {
      post: (body, done) => this.post(body, done),
      statuses: (ids, done) => void this.time.after(1, () => done(ids.map((id) => this.server.view(id)))),
      limits: () => {},
      listen: (ask, _poll, on) => {
        let conn: { close(): void } | undefined;
        const cancel = this.time.after(1, () => {
          conn = this.server.connect(ask, { open: () => on.open(), event: (n, d) => way(() => on.event(n, JSON.parse(JSON.stringify(d)))),
            mark: (m) => way(() => on.mark(m)), end: () => on.end() });
        });
        return () => {
          cancel();
          conn?.close();
        };
      },
    };
  }

  client(name: string, options: ClientOptions = {}): Client {
    const t = this.transport();
    const clock = this.time.clock(chance(2), name);
    return new Client('', { actor: name, ...options }, t, clock, feeds(t, clock));
  }

  state(stream: string): any {
    return this.server.rules.instance(stream).state;
  }
}

/** A type of documents: create, update, delete. */
export const documents: Kind = {
  initial: null,
  evolve: (s, e) => (e.type == 'deleted' ? null : { ...s, ...e.data }),
  decide(s, command, data) {
    if ((command == 'create') == !!s) return { reason: 'refused', refusal: s ? 'exists' : 'missing', detail: 'not now' };
    return [{ type: command + 'd', data }];
  },
};
