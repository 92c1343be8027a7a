import type { Answer, Transport } from '../../src/types.ts';
import type { Server } from './server.ts';
import type { Time } from './time.ts';

/** How bad a network is: chances from 0 to 1, times in ms. */
export interface Weather {
  slow: number; // a message takes up to this
  judge: number; // until a command is judged, up to this
  lose: number; // a request, or its answer
  twice: number; // a request arrives twice
  trouble: number; // 429, 503 and such
  cut: number; // a connection is cut, per second
  expired: number; // 401
}

export const calm: Weather = { slow: 20, judge: 20, lose: 0, twice: 0, trouble: 0, cut: 0, expired: 0 };

/** One client's way to the server. */
export class Network implements Transport {
  weather = calm;
  offline = false;
  closed = false;
  /** What leaves. */
  posted?: (body: string) => void;

  constructor(private server: Server, private time: Time, private random: () => number) {}

  private luck(p: number): boolean {
    return this.random() < p;
  }

  private delay(fn: () => void): void {
    this.time.after(1 + this.random() * this.weather.slow, () => this.closed || fn());
  }

  post(body: string, done: (a: Answer) => void): void {
    this.posted?.(body);
    const w = this.weather;
    const lost = () => void this.time.after(1 + this.random() * 30_000, () => this.closed || done({ status: 0 }));
    if (this.offline) return void this.delay(() => done({ status: 0 }));
    if (this.luck(w.lose)) return lost();
    if (this.luck(w.expired)) return this.delay(() => done({ status: 401 }));
    const arrive = () => this.server.post(body, w.judge);
    // On its way it does not depend on the page any more.
    this.time.after(1 + this.random() * w.slow, () => {
      if (this.luck(w.trouble)) return this.trouble(arrive, done, JSON.parse(body));
      const answer = arrive();
      if (this.luck(w.twice)) this.time.after(this.random() * w.slow * 4, arrive);
      if (this.offline || this.luck(w.lose)) return lost();
      this.delay(() => done(answer));
    });
  }

  private trouble(arrive: () => Answer, done: (a: Answer) => void, items: any[]): void {
    const kind = Math.floor(this.random() * 7);
    if (kind == 0) this.delay(() => done({ status: 503, body: { status: 503, code: 'unavailable' }, later: 1000 }));
    else if (kind == 1) this.delay(() => done({ status: 429, body: { status: 429, code: 'rate_limited' }, later: 500 }));
    else if (kind == 2) {
      if (this.luck(0.5)) arrive();
      this.delay(() => done({ status: 503, body: { status: 503, code: 'fate_unknown' } }));
    } else if (kind == 6) this.delay(() => done({ status: 403, body: items.map((c) => ({ id: c.id, status: 403, code: 'policy_forbidden' })) }));
    else if (kind == 3) this.delay(() => done({ status: 502, body: 0 }));
    else if (kind == 4) {
      // Some were taken, of some nobody knows.
      const { status, body } = arrive() as any;
      if (!Array.isArray(body)) return this.delay(() => done({ status, body }));
      this.delay(() => done({ status: 202, body: body.map((b) => (this.luck(0.5) || b.code ? b : { id: b.id, status: 503, code: 'fate_unknown' })) }));
    } else this.delay(() => done({ status: 403, body: items.length > 1 ? { status: 403 } : '<html>please log in' }));
  }

  statuses(ids: string[], done: (list?: any[]) => void): void {
    const bad = this.offline || this.luck(this.weather.lose);
    this.delay(() => {
      const list = bad ? undefined : ids.map((id) => this.server.view(id));
      this.delay(() => done(list));
    });
  }

  limits(done: (l?: any) => void): void {
    this.delay(() => done(this.server.limits));
  }

  listen(ask: any, _poll: boolean, on: any): () => void {
    let stopped = false;
    let stop = () => {};
    if (this.offline || this.luck(this.weather.lose)) {
      this.delay(() => stopped || on.end());
      return () => (stopped = true);
    }
    this.delay(() => {
      if (stopped) return;
      // Whatever is told arrives in order, after a while.
      let last = 0;
      const way = (fn: () => void) => {
        last = Math.max(last, this.time.now + this.random() * this.weather.slow);
        this.time.after(last - this.time.now, () => stopped || this.closed || fn());
      };
      const c = this.server.connect(ask, {
        open: () => way(() => on.open()),
        event: (n, d) => {
          const text = JSON.stringify(d);
          way(() => {
            on.event(n, JSON.parse(text));
            // Told again, and late.
            if (n != 'reset' && this.luck(this.weather.twice))
              this.time.after(this.random() * this.weather.slow * 9, () => stopped || this.closed || on.event(n, JSON.parse(text)));
          });
        },
        mark: (id) => way(() => on.mark(id)),
        end: () => way(() => on.end()),
      });
      stop = () => c.close();
      const second = () => {
        if (stopped || c.over) return;
        if (this.offline || this.closed || this.luck(this.weather.cut)) {
          c.close();
          if (!this.closed) {
            stopped = true;
            this.time.after(10, () => this.closed || on.end());
          }
        } else this.time.after(1000, second);
      };
      this.time.after(1000, second);
    });
    return () => {
      stopped = true;
      stop();
    };
  }
}
