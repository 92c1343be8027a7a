import type { Time } from './time.ts';

/** One origin: Web Locks and BroadcastChannels of pages that close, crash and freeze. */
export class Origin {
  #locks = new Map<string, { tab: Page; end: (e?: Error) => void }>();
  #queue: { name: string; tab: Page; start: () => void }[] = [];
  pages = new Set<Page>();
  /** How long a message from page to page takes, in ms; those of one page arrive in order. */
  slow = () => 1;
  constructor(readonly time: Time) {}

  page(): Page {
    const p = new Page(this);
    this.pages.add(p);
    return p;
  }

  request(tab: Page, name: string, options: any, fn: (l: any) => any): Promise<any> {
    return new Promise((yes, no) => {
      const start = () => {
        let over = false;
        const end = (e?: Error) => {
          if (over) return;
          over = true;
          if (this.#locks.get(name)?.end == end) this.#locks.delete(name);
          if (e) tab.run(() => no(e));
          this.next();
        };
        this.#locks.set(name, { tab, end });
        void Promise.resolve(fn({ name })).then((v) => {
          end();
          yes(v);
        });
      };
      const held = this.#locks.get(name);
      if (held && options.ifAvailable) return void Promise.resolve(fn(null)).then(yes);
      if (options.steal || !held) {
        start();
        held?.end(new Error('AbortError'));
      }
      else this.#queue.push({ name, tab, start });
    });
  }

  next(): void {
    for (const q of [...this.#queue])
      if (!this.#locks.has(q.name) && this.pages.has(q.tab)) {
        this.#queue.splice(this.#queue.indexOf(q), 1);
        q.start();
      }
  }

  /** All locks of a page are released. */
  gone(tab: Page): void {
    this.pages.delete(tab);
    this.#queue = this.#queue.filter((q) => q.tab != tab);
    for (const [name, l] of [...this.#locks]) if (l.tab == tab) this.#locks.delete(name);
    this.next();
  }
}

/** A page, with what it has of the browser. */
export class Page {
  frozen = false;
  dead = false;
  #later: (() => unknown)[] = [];
  #sent = new Map<Page, number>();
  ports = new Map<string, any>();
  constructor(private origin: Origin) {}

  readonly locks: any = {
    request: (name: string, options: any, fn: any) => this.origin.request(this, name, options, (l: any) => fn(l)),
  };

  readonly channel = (name: string): any => {
    const port: any = {
      onmessage: undefined,
      close: () => this.ports.delete(name),
      postMessage: (data: any) => {
        if (this.dead) return;
        const copy = structuredClone(data); // Throws for what cannot be copied.
        for (const p of this.origin.pages) {
          const other = p != this && p.ports.get(name);
          if (!other) continue;
          const { time, slow } = this.origin;
          const due = Math.max(this.#sent.get(p) ?? 0, time.now + slow());
          this.#sent.set(p, due);
          time.after(due - time.now, () => p.run(() => other.onmessage?.({ data: structuredClone(copy) })));
        }
      },
    };
    this.ports.set(name, port);
    return port;
  };

  /** Runs in the page, now or when it thaws; never when it is dead. */
  run(fn: () => unknown): void {
    if (this.dead) return;
    if (this.frozen) this.#later.push(fn);
    else fn();
  }

  readonly after = (ms: number, fn: () => void): (() => void) => {
    let over = false;
    const cancel = this.origin.time.after(ms, () => this.run(() => over || fn()));
    return () => {
      over = true;
      cancel();
    };
  };

  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
    for (const fn of this.#later.splice(0)) fn();
  }

  crash(): void {
    this.dead = true;
    this.origin.gone(this);
  }
}
