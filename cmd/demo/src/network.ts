/**
 * The network of one page. All its clients share one connection for what is pushed, with those of other tabs, and each
 * has a transport of its own for what it sends, which can be mistreated: cut, slowed down, shuffled and doubled. The
 * client's own code is untouched, and so is the server; what happens between the two is what real networks do.
 */
import type { Feeding, Sharing, Transport, Want, Watcher } from '../../../notify/client/src/index.ts';
import { share } from '../../../notify/client/src/share.ts';

/** What is done to a person's network. */
export interface Mischief {
  cut: boolean;
  slow: boolean;
  shuffle: boolean;
  double: boolean;
}

/** How long a slow message takes each way, in ms. */
const SLOW = 1500;
/** How long a message is held back at most so that a later one overtakes it, in ms. */
const HELD = 2400;
/** Pushes kept for a slow reader; past that it starts anew. */
const KEPT = 500;

/** One person's line: what they send and are told goes over it. */
export class Wire {
  readonly mischief: Mischief = { cut: false, slow: false, shuffle: false, double: false };
  /** Called when something was switched. */
  readonly switched = new Set<() => void>();
  #held?: () => void;

  set(what: keyof Mischief, on: boolean): void {
    this.mischief[what] = on;
    if (what == 'shuffle' && !on) this.#release();
    for (const fn of this.switched) fn();
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  /** The way to the server; tells when something has left the client, when it is sent, and what was answered. */
  transport(real: Transport, left: (body: string) => void, sent: (body: string) => void, answered: (body: string, answer: any) => void): Transport {
    const post: Transport['post'] = (body, done) => {
      const { mischief } = this;
      let once = (a: Parameters<typeof done>[0]) => {
        once = () => {};
        if (!mischief.cut) answered(body, a.body);
        done(mischief.cut ? { status: 0 } : a);
      };
      const go = () => {
        if (mischief.cut) return once({ status: 0 });
        sent(body);
        const answer = (a: Parameters<typeof done>[0]) => (mischief.slow ? setTimeout(() => once(a), SLOW) : once(a));
        real.post(body, answer);
        // The first answer counts, as it would for a packet that was sent twice.
        if (mischief.double) {
          sent(body);
          real.post(body, answer);
        }
      };
      const leave = () => (mischief.slow ? setTimeout(go, SLOW) : go());
      if (!mischief.cut) left(body);
      if (!mischief.shuffle || mischief.cut) return void leave();
      if (this.#held) {
        leave();
        // The one that was overtaken arrives well after this one.
        const held = this.#held;
        this.#held = undefined;
        setTimeout(held, HELD / 2);
        return;
      }
      let gone = false;
      const late = () => {
        if (!gone) leave();
        gone = true;
      };
      this.#held = late;
      setTimeout(() => {
        if (this.#held == late) this.#release();
      }, HELD);
    };
    return {
      post,
      statuses: (ids, done) => (this.mischief.cut ? done() : real.statuses(ids, (l) => done(this.mischief.cut ? undefined : l))),
      limits: (done) => real.limits(done),
      listen: (ask, poll, on) => real.listen(ask, poll, on),
    };
  }

  /** The way back: calls in order, later when it is slow. */
  back = (() => {
    const queue: { at: number; fn: () => void }[] = [];
    const run = () => {
      while (queue.length && queue[0]!.at <= performance.now()) queue.shift()!.fn();
      if (queue.length) setTimeout(run, Math.max(0, queue[0]!.at - performance.now()));
    };
    return {
      /** False when it holds too much. */
      hand: (fn: () => void): boolean => {
        if (!queue.length && !this.mischief.slow) {
          fn();
          return true;
        }
        if (queue.length >= KEPT) return false;
        queue.push({ at: performance.now() + (this.mischief.slow ? SLOW : 0), fn });
        if (queue.length == 1) setTimeout(run, SLOW);
        return true;
      },
      lose: () => void queue.splice(0),
    };
  })();
}

interface Member {
  wire: Wire;
  watcher: Watcher;
  cut: boolean;
}

/** The one connection that all clients of the page share, and the pages of all other tabs with them. */
export class Switchboard {
  /** Hears all that is pushed. */
  heard: (name: string, data: any) => void = () => {};
  /** It has begun or ceased to work. */
  turned: () => void = () => {};
  #members = new Set<Member>();
  #feeding?: Feeding;

  /** What a client on that wire takes as its option `share`. */
  share(wire: Wire): Sharing {
    return (url, feeds, watcher) => {
      const member: Member = { wire, watcher, cut: wire.mischief.cut };
      const turn = () => this.#turn(member);
      wire.switched.add(turn);
      this.#members.add(member);
      // Three people are one tab: a browser has six connections to a server, and tabs that are many.
      this.#feeding ??= share({ name: 'desk' })(url, feeds, this.#everybody());
      this.#feeding.update(true);
      return {
        update: () => this.#feeding?.update(),
        wake: () => this.#feeding?.wake(),
        close: () => {
          wire.switched.delete(turn);
          this.#members.delete(member);
          if (this.#members.size) return;
          this.#feeding?.close();
          this.#feeding = undefined;
        },
      };
    };
  }

  #turn(m: Member): void {
    const { cut } = m.wire.mischief;
    if (cut == m.cut) return;
    m.cut = cut;
    m.wire.back.lose();
    if (cut) m.watcher.live(false);
    else this.#anew(m);
  }

  /** They missed something: what has become of their actions is asked, and the state told anew. */
  #anew(m: Member): void {
    m.watcher.event('reset', {});
    this.#feeding?.update(true);
  }

  /** All who can hear, as one watcher. */
  #everybody(): Watcher {
    return {
      want: () => this.#want(),
      event: (name, data) => {
        this.heard(name, data);
        for (const m of this.#members) if (!m.cut) this.#tell(m, name, data);
      },
      live: (yes, problem) => {
        for (const m of this.#members) if (!m.cut) m.watcher.live(yes, problem);
        this.turned();
      },
    };
  }

  #want(): Want {
    const streams: Want['streams'] = {};
    const sessions = [...this.#members].flatMap((m) => m.watcher.want().sessions);
    // Those who are cut off are told when they come back.
    for (const m of [...this.#members].sort((a, b) => +a.cut - +b.cut)) {
      for (const [name, version] of Object.entries(m.watcher.want().streams)) {
        const known = streams[name];
        if (!(name in streams)) streams[name] = version;
        else if (!m.cut) streams[name] = known == null || version == null ? undefined : Math.min(known, version);
      }
    }
    return { streams, sessions };
  }

  #tell(m: Member, name: string, data: any): void {
    if (name == 'reset') m.wire.back.lose(); // What is on its way to them counts no more.
    else if (m.wire.back.hand(() => m.watcher.event(name, data))) return;
    else return this.#anew(m);
    m.watcher.event('reset', {});
  }
}
