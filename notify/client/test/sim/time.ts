import type { Clock } from '../../src/types.ts';

/** Chance with a seed (mulberry32). */
export function chance(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Time that passes when it is told to. What is due at one moment happens in the order it was asked for. */
export class Time {
  now = 1_700_000_000_000;
  #due: { at: number; n: number; fn: () => void }[] = [];
  #soon: (() => void)[] = [];
  #n = 0;

  after(ms: number, fn: () => void): () => void {
    const e = { at: this.now + ms, n: this.#n++, fn };
    this.#due.push(e);
    return () => {
      this.#due = this.#due.filter((d) => d != e);
    };
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  /** Lets what is due happen, for so long. */
  pass(ms: number): void {
    const until = this.now + ms;
    this.settle();
    for (;;) {
      let next = this.#due[0];
      for (const d of this.#due) if (d.at < next!.at || (d.at == next!.at && d.n < next!.n)) next = d;
      if (!next || next.at > until) break;
      this.#due.splice(this.#due.indexOf(next), 1);
      this.now = Math.max(this.now, next.at);
      next.fn();
      this.settle();
    }
    this.now = until;
  }

  settle(): void {
    for (let i = 0; this.#soon.length; i++) {
      if (i > 100_000) throw new Error('it goes on for ever');
      this.#soon.shift()!();
    }
  }

  /** A clock for a client. */
  clock(random: () => number, name: string): Clock {
    let n = 0;
    return {
      now: () => this.now,
      random,
      id: () => `${name}-${(++n).toString().padStart(4, '0')}`,
      // Real timers take whole milliseconds.
      after: (ms, fn) => this.after(Math.trunc(ms), fn),
      soon: (fn) => this.soon(fn),
      frame: (fn) => void this.after(16, fn),
    };
  }
}

/** Tells what happens, when asked to by the environment. */
export const trace = (time: Time, text: string): void => {
  if (process.env.DOORMAN_MODEL_TRACE) console.error(time.now - 1_700_000_000_000, text);
};
