/** The three people of the page, each with a client of their own, and what they all do together. */
import type { Client, Conflict, Handle, SendOptions, Stream } from '../../../notify/client/src/index.ts';
import { connect, http } from '../../../notify/client/src/index.ts';
import { persist } from '../../../notify/client/src/persist.ts';
import { Ledger } from './ledger.ts';
import type { Action } from './ledger.ts';
import { Switchboard, Wire } from './network.ts';
import { orders } from './order.ts';
import type { Order } from './order.ts';

export type Name = 'Ann' | 'Ben' | 'Mia';

export const names: Name[] = ['Ann', 'Ben', 'Mia'];

/** Somebody at the desk. */
export class Person {
  readonly wire = new Wire();
  readonly client: Client;
  #stream?: Stream<Order>;
  #stop?: () => void;

  constructor(readonly name: Name, private desk: Desk) {
    const transport = this.wire.transport(
      http(''),
      (body) => desk.ledger.leaving(name, body),
      (body) => desk.ledger.sent(body),
      (body, answer) => desk.ledger.answered(body, answer),
    );
    this.client = connect('', {
      actor: name,
      transport,
      types: { order: orders },
      persist: persist({ name: `desk-${name.toLowerCase()}` }),
      share: desk.switchboard.share(this.wire),
      onError: (problem) => desk.say(`${name}: ${problem.detail ?? problem.message ?? problem.code}`),
    });
    this.wire.switched.add(() => {
      if (!this.wire.mischief.cut) this.client.wake();
      desk.changed();
    });
  }

  open(name: string): void {
    this.#stop?.();
    this.#stream?.close();
    const stream = (this.#stream = this.client.stream<Order>(name));
    const { ledger } = this.desk;
    this.#stop = stream.subscribe(() => {
      ledger.pending(this.name, stream.version, stream.pending);
      this.desk.changed();
    });
  }

  get stream(): Stream<Order> {
    return this.#stream!;
  }

  get conflict(): Conflict | undefined {
    return this.stream.conflict;
  }

  /** What the timeline has of an action. */
  known(id: string): Action | undefined {
    return this.desk.ledger.get(id);
  }

  /** Sends a command; what is seen changes before this returns. */
  send(type: string, data: unknown = {}, options?: SendOptions): Handle {
    const handle = this.stream.send(type, data, options);
    this.desk.ledger.pending(this.name, this.stream.version, this.stream.pending);
    this.desk.changed();
    return handle;
  }
}

/** The page. */
export class Desk {
  readonly switchboard = new Switchboard();
  ledger = new Ledger('');
  readonly people: Person[];
  /** Called whenever something is to be drawn anew. */
  draw: () => void = () => {};
  /** The last thing that happened, for those who listen. */
  news = '';
  #watchers = new Set<(a: Action) => void>();

  constructor(stream: string) {
    this.ledger = this.#ledgerOf(stream);
    this.switchboard.heard = (name, data) => {
      // What is told to one of the tabs that share a connection is heard by all.
      if (name == 'state' || this.ledger.get(data.id) || this.#pending(data.id)) this.ledger.pushed(name, data);
    };
    this.switchboard.turned = () => this.changed();
    this.people = names.map((name) => new Person(name, this));
    for (const p of this.people) p.open(stream);
  }

  #pending(id: string): boolean {
    return this.people.some((p) => p.stream.pending.some((h) => h.id == id));
  }

  #ledgerOf(stream: string): Ledger {
    const ledger = new Ledger(stream);
    ledger.changed = () => this.changed();
    ledger.moved = (a) => {
      for (const fn of this.#watchers) fn(a);
    };
    return ledger;
  }

  /** Is told of every action that comes to another status. */
  watch(fn: (a: Action) => void): void {
    this.#watchers.add(fn);
  }

  get name(): string {
    return this.ledger.stream;
  }

  person(name: Name): Person {
    return this.people.find((p) => p.name == name)!;
  }

  /** Everybody goes to another order. */
  go(stream: string): void {
    if (stream == this.name) return;
    this.ledger.changed = this.ledger.moved = () => {};
    this.ledger = this.#ledgerOf(stream);
    for (const p of this.people) p.open(stream);
    this.changed();
  }

  say(what: string): void {
    this.news = what;
    this.changed();
  }

  #drawing = false;
  changed(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    queueMicrotask(() => {
      this.#drawing = false;
      this.draw();
    });
  }
}
