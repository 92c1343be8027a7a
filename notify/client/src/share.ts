import type { Feeding, Sharing, Want, Watcher } from './types.ts';

/** What {@link share} takes. */
export interface ShareOptions {
  /** Tabs with the same name share: one for each user who may sign in here. */
  name?: string;
  /** Instead of the browser's. */
  locks?: LockManager;
  channel?: (name: string) => BroadcastChannel;
  after?: (ms: number, fn: () => void) => () => void;
}

type Message = { from: string } & (
  | { t: 'want'; want: Want; anew: boolean }
  | { t: 'bye' | 'hello' | 'beat' }
  | { t: 'open'; tabs: string[]; n: number }
  | { t: 'lost' | 'full'; to: string }
  | { t: 'told'; n: number; name: string; data: any }
  | { t: 'mark'; id: string }
  | { t: 'live'; yes: boolean; problem?: any }
);

/** In ms: how often everybody gives a sign of life. */
const BEAT = 3_000;
/** After so many own beats without one of the leader's it is taken for frozen, which makes 17 s at most. */
const PATIENCE = 3;
/** Not all take the lock at once. */
const SPREAD = 2_000;
/** After so many beats a tab that says nothing is taken for gone; a hidden one beats once a minute. */
const FORGET = 60;
const MOST = 256;

interface Tab {
  want: Want;
  silent: number;
  /** It has been told that it is told all: what was told before went past it. */
  joined: boolean;
}

/**
 * Lets all tabs that sign in alike have one connection. One of them leads: it holds a Web Lock, has the connection,
 * and tells the others over a BroadcastChannel. When it goes the next one has the lock; when it freezes the lock is
 * taken from it. Where there are no Web Locks each tab has its own connection.
 */
export function share(options: ShareOptions = {}): Sharing {
  const {
    name = '', locks = globalThis.navigator?.locks, channel = (n) => new BroadcastChannel(n),
    after = (ms, fn) => {
      const t = setTimeout(fn, ms);
      return () => clearTimeout(t);
    },
  } = options;
  return (url, feeds, watcher) => {
    if (!locks || (!options.channel && !globalThis.BroadcastChannel)) return feeds(watcher);
    const key = `doorman 1 ${url} ${name}`;
    const me = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16)).join('.');
    const bus = channel(key);
    const tabs = new Map<string, Tab>();
    let feed: Feeding | undefined; // Only who leads has one, and who is on its own.
    let alone = false;
    let leader = '';
    let said = '';
    let joined = false; // What is told is complete for this tab.
    let next = 0;
    let told = 0;
    let mark: string | undefined;
    let missed = 0;
    let closed = false;
    let release = () => {};
    let cancelBeat = () => {};
    let cancelOpen: (() => void) | undefined;

    const post = (m: any) => closed || bus.postMessage({ ...m, from: me });
    const ask = (anew: boolean) => post({ t: 'want', want: watcher.want(), anew });
    const lose = () => {
      joined = false;
      watcher.event('reset', {});
    };

    /** What all tabs want together. */
    const want = (): Want => {
      const all = [watcher.want(), ...[...tabs.values()].map((t) => t.want)];
      const streams: Want['streams'] = {};
      for (const w of all)
        for (const [n, v] of Object.entries(w.streams))
          streams[n] = v == null || (n in streams && streams[n] == null) ? undefined : Math.min(v, streams[n] ?? v);
      return { streams, sessions: [...new Set(all.flatMap((w) => w.sessions))] };
    };

    const lead: Watcher = {
      want,
      event(n, data) {
        post({ t: 'told', n: told++, name: n, data });
        for (const { want: w, joined } of tabs.values()) {
          if (n == 'reset') for (const s in w.streams) w.streams[s] = undefined;
          else if (n == 'state' && joined && data.stream in w.streams) w.streams[data.stream] = data.version;
        }
        watcher.event(n, data);
      },
      live(yes, problem) {
        try {
          post({ t: 'live', yes, problem });
        } catch {
          post({ t: 'live', yes }); // The problem is one that cannot be copied, as a Response.
        }
        watcher.live(yes, problem);
      },
    };

    /** A tab has its own connection if one has no room for all. */
    const leave = (id: string) => {
      if (Object.keys(want().streams).length <= MOST) return false;
      tabs.delete(id);
      post({ t: 'full', to: id });
      return true;
    };

    /** Says who is told all from now on. */
    const announce = () => {
      cancelOpen = undefined;
      for (const id of [...tabs.keys()].reverse()) leave(id);
      for (const t of tabs.values()) t.joined = true;
      post({ t: 'open', tabs: [...tabs.keys()], n: told });
    };

    /** Opens the connection for everybody, as soon as all have said what they want. */
    const open = () => {
      cancelOpen ??= after(10, () => {
        announce();
        feed!.update(true);
      });
    };

    const start = () => {
      leader = me;
      joined = true;
      tabs.clear();
      told = 0;
      post({ t: 'hello' });
      // The others say what they want before the first connection is made.
      cancelOpen = after(50, () => {
        announce();
        feed = feeds(lead, mark, (id) => {
          mark = id;
          post({ t: 'mark', id });
        });
        feed.update(true);
      });
    };

    const stop = () => {
      cancelOpen?.();
      cancelOpen = undefined;
      feed?.close();
      feed = undefined;
      if (leader == me) leader = '';
    };

    const queue = (steal: boolean) => {
      const held = () =>
        new Promise<void>((done) => {
          if (closed || alone || leader == me) return done();
          release = done;
          start();
        });
      locks.request(key, steal ? { steal } : {}, held).catch(() => {
        // It was taken from this tab, which must have been frozen.
        if (closed || alone) return;
        stop();
        lose();
        ask(true);
        queue(false);
      });
    };

    const hear = (m: Message) => {
      if (closed || alone) return;
      if (m.t == 'want' && leader == me) {
        const known = tabs.get(m.from);
        if (!known && !m.anew && feed) return post({ t: 'lost', to: m.from });
        const before = known?.want.streams ?? {};
        tabs.set(m.from, { want: m.want, silent: 0, joined: !m.anew && !!known?.joined });
        if (leave(m.from)) return;
        if (m.anew || Object.entries(m.want.streams).some(([n, v]) => v == null && !(n in before))) open();
        else feed?.update();
      } else if (m.t == 'bye') {
        tabs.delete(m.from);
      } else if (m.t == 'hello') {
        // Said before this tab had the lock; if it was taken since, the lock says so.
        if (leader == me) return;
        leader = m.from;
        next = missed = 0;
        ask(!joined);
      } else if (m.t == 'lost' || m.t == 'full') {
        if (m.to != me || leader == me) return;
        lose();
        if (m.t == 'lost') ask(true);
        else {
          post({ t: 'bye' });
          alone = true;
          feed = feeds(watcher);
          feed.update();
        }
      } else if (m.t != 'want' && leader != me) {
        if (m.from != leader) {
          if (leader) {
            // The first that is heard of this one: it has not been told of us.
            if (joined) lose();
            ask(true);
          }
          leader = m.from;
        }
        missed = 0;
        if (m.t == 'open') {
          if (!m.tabs.includes(me)) ask(true);
          else if (!joined) {
            joined = true;
            next = m.n;
          }
        } else if (m.t == 'mark') mark = m.id;
        else if (m.t == 'live') watcher.live(m.yes, m.problem);
        else if (m.t == 'told') {
          const whole = m.n == next || !joined;
          next = m.n + 1;
          if (!whole) {
            lose();
            ask(true);
          } else if (joined) watcher.event(m.name, m.data);
        }
      }
    };
    bus.onmessage = (e: MessageEvent<Message>) => hear(e.data);

    const beat = () => {
      cancelBeat = after(BEAT, beat);
      if (alone) return;
      if (leader == me) {
        post({ t: 'beat' });
        for (const [id, t] of tabs) if (++t.silent > FORGET) tabs.delete(id);
      } else {
        ask(!joined);
        if (++missed > PATIENCE) {
          missed = 0;
          // Whoever hears of another leader meanwhile leaves it at that.
          const before = leader;
          after(Math.random() * SPREAD, () => leader == before && leader != me && !closed && !alone && queue(true));
        }
      }
    };
    beat();
    queue(false);
    ask(true);

    return {
      update(anew) {
        const w = watcher.want();
        const now = JSON.stringify([Object.keys(w.streams), w.sessions]);
        if (now == said && !anew && !alone) return;
        said = now;
        if (leader == me) open();
        else if (alone) feed!.update(anew);
        else ask(anew || !joined);
      },
      wake: () => feed?.wake(),
      close() {
        post({ t: 'bye' });
        closed = true;
        cancelBeat();
        stop();
        release();
        bus.close();
      },
    };
  };
}
